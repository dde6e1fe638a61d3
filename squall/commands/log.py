"""Commands that look at the log: its topics and its dead letters."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bus.log import Entry, Log
    from bus.messages import DeadLetter

Number = Annotated[int, typer.Argument(help="The letter's number, as 'squall dead list' shows it.")]


def register(app: typer.Typer) -> None:
    """Add ``topics`` and ``dead``."""
    app.command()(topics)
    letters = typer.Typer(help="Records that a stage could not use.", no_args_is_help=True)
    letters.command("list")(list_)
    letters.command()(show)
    letters.command()(requeue)
    app.add_typer(letters, name="dead")


def topics(context: typer.Context) -> None:
    """Show the topics of the log, creating those that are missing, with the lag of each reader."""
    from bus.topics import ARTICLES, DEAD, SCORED, SPIKES, TALLIES, TRENDS
    from squall.commands.context import open_log, settings_of

    readers = {
        ARTICLES: ["worker"],
        SCORED: ["archive"],
        TALLIES: ["trends"],
        TRENDS: ["archive"],
        SPIKES: ["archive", "alerts"],
        DEAD: [],
    }
    with open_log(settings_of(context)) as log:
        for topic, groups in readers.items():
            lags = ", ".join(f"{group} lags {log.lag(group, topic)}" for group in groups)
            typer.echo(f"{topic:15} {log.partitions(topic):3} partitions  {sum(log.ends(topic)):9} written  {lags}")


def list_(context: typer.Context) -> None:
    """List the dead letters, oldest first."""
    from bus.topics import DEAD
    from squall.commands.context import open_log, settings_of

    count = 0
    with open_log(settings_of(context)) as log:
        for entry in log.read_all(DEAD):
            typer.echo(f"{entry.offset:6}  {_described(entry)}")
            count += 1
    typer.echo(f"{count} dead letters")


def _described(entry: "Entry") -> str:
    from bus.errors import MessageError
    from bus.messages import DeadLetter, decode

    try:
        letter = decode(entry.value, DeadLetter)
    except MessageError as error:
        return f"unreadable: {error}"
    where = letter.origin or f"{letter.topic}[{letter.partition}]@{letter.offset}"
    return f"{letter.at:%Y-%m-%d %H:%M:%S}  {letter.stage:8} {where}: {letter.error}"


def show(context: typer.Context, number: Number) -> None:
    """Show one dead letter with its original bytes."""
    from squall.commands.context import open_log, settings_of

    with open_log(settings_of(context)) as log:
        entry, letter = _letter(log, number)
    typer.echo(f"key     {entry.key}\nstage   {letter.stage}\nerror   {letter.error}\nat      {letter.at.isoformat()}")
    typer.echo(f"origin  {letter.origin or '-'}\nstood   {letter.topic or '-'}[{letter.partition}]@{letter.offset}")
    cut = f", the first of {letter.length}" if letter.length > len(letter.value) else ""
    typer.echo(f"bytes   {len(letter.value)}{cut}\n{letter.value.decode(errors='backslashreplace')}")


def requeue(
    context: typer.Context,
    number: Number,
    value: Annotated[Path | None, typer.Option(help="File with mended bytes, instead of the original ones.")] = None,
) -> None:
    """Write a dead letter's bytes to its topic again, mended or as they were."""
    from bus.errors import ConfigError
    from bus.log import Record
    from squall.commands.context import open_log, settings_of

    with open_log(settings_of(context)) as log:
        entry, letter = _letter(log, number)
        if not letter.topic:
            raise ConfigError(
                f"dead letter {number} was never on a topic; push or replay it again from {letter.origin}"
            )
        if value is None and letter.length > len(letter.value):
            raise ConfigError(
                f"dead letter {number} holds the first {len(letter.value)} of {letter.length} bytes; the record may"
                f" still stand at {letter.topic}[{letter.partition}]@{letter.offset}: mend it and give --value FILE"
            )
        log.publish([Record(letter.topic, entry.key, value.read_bytes() if value else letter.value)])
    typer.echo(f"written to {letter.topic} again")


def _letter(log: "Log", number: int) -> "tuple[Entry, DeadLetter]":
    from bus.errors import ConfigError
    from bus.messages import DeadLetter, decode
    from bus.topics import DEAD

    entry = next(iter(log.read(DEAD, 0, number)), None) if number >= 0 else None
    if entry is None or entry.offset != number:
        raise ConfigError(f"no dead letter {number}; 'squall dead list' shows them")
    return entry, decode(entry.value, DeadLetter)
