"""Commands on dead letters: what no stage could use, for a person to mend or to drop."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bus.dead import Filed

Number = Annotated[int, typer.Argument(help="The letter's number, as 'squall dead list' shows it.")]


def register(app: typer.Typer) -> None:
    """Add ``dead``."""
    letters = typer.Typer(help="Records that a stage could not use.", no_args_is_help=True)
    letters.command("list")(list_)
    letters.command()(show)
    letters.command()(requeue)
    letters.command()(drop)
    app.add_typer(letters, name="dead")


def list_(
    context: typer.Context,
    settled: Annotated[bool, typer.Option("--all", help="Also those that were requeued or dropped.")] = False,
) -> None:
    """List the dead letters that nobody has dealt with, oldest first."""
    from bus.dead import letters
    from squall.commands.context import open_log, settings_of

    with open_log(settings_of(context)) as log:
        shown = [filed for filed in letters(log) if settled or not filed.settled]
    for filed in shown:
        typer.echo(f"{filed.number:6}  {_described(filed)}")
    typer.echo(f"{len(shown)} dead letters")


def _described(filed: "Filed") -> str:
    letter, how = filed.letter, f"{filed.settled}  " if filed.settled else ""
    if isinstance(letter, str):
        return f"{how}{letter}"
    where = letter.origin or f"{letter.topic}[{letter.partition}]@{letter.offset}"
    return f"{how}{letter.at:%Y-%m-%d %H:%M:%S}  {letter.stage:8} {where}: {letter.error}"


def show(context: typer.Context, number: Number) -> None:
    """Show one dead letter with its original bytes."""
    from bus.dead import letter
    from squall.commands.context import open_log, settings_of

    with open_log(settings_of(context)) as log:
        filed = letter(log, number)
    found = filed.letter
    if isinstance(found, str):
        typer.echo(f"key     {filed.key}\n{found}")
        return
    typer.echo(f"key     {filed.key}\nstage   {found.stage}\nerror   {found.error}\nat      {found.at.isoformat()}")
    typer.echo(f"origin  {found.origin or '-'}\nstood   {found.topic or '-'}[{found.partition}]@{found.offset}")
    cut = f", the first of {found.length}" if found.length > len(found.value) else ""
    typer.echo(f"settled {filed.settled or 'no'}")
    typer.echo(f"bytes   {len(found.value)}{cut}\n{found.value.decode(errors='backslashreplace')}")


def requeue(
    context: typer.Context,
    number: Number,
    value: Annotated[Path | None, typer.Option(help="File with mended bytes, instead of the original ones.")] = None,
) -> None:
    """Write a dead letter's bytes to its topic again, mended or as they were, and take it off the list."""
    from bus.dead import requeue as again
    from squall.commands.context import open_log, settings_of

    mended = value.read_bytes() if value else None
    with open_log(settings_of(context)) as log:
        topic = again(log, number, mended)
    typer.echo(f"written to {topic} again")


def drop(context: typer.Context, number: Number) -> None:
    """Take a dead letter off the list; its bytes stay on the log until they are too old."""
    from bus.dead import drop as settle
    from squall.commands.context import open_log, settings_of

    with open_log(settings_of(context)) as log:
        settle(log, number)
    typer.echo(f"dead letter {number} is off the list; 'squall dead list --all' still shows it")
