"""Commands of the ingest room: replaying files and checking sources."""

from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from ingest.sources import Source
    from squall.settings import Settings


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(replay)
    sources = typer.Typer(help="The sources that are crawled.", no_args_is_help=True)
    sources.command()(check)
    app.add_typer(sources, name="sources")


def replay(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="JSON lines, or CSV with a header (docs/sources.md).")],
    speed: Annotated[str, typer.Option(help="So many times real time, or 'max': flat out.")] = "max",
    since: Annotated[str, typer.Option("--from", help="Leave out what was published before this time.")] = "",
    until: Annotated[str, typer.Option("--to", help="Leave out what was published from this time on.")] = "",
) -> None:
    """Publish articles from files, in the order in which they happened."""
    from ingest.replay import replay as replayed
    from squall.commands.context import open_log, settings_of

    settings = settings_of(context)
    pace, first, last = _speed(speed), _time("--from", since), _time("--to", until)
    with open_log(settings) as log, _stopped_by_signals() as stop:
        report = replayed(
            log, files, speed=pace, since=first, until=last, stop=stop, retention_days=settings.retention_days
        )
    typer.echo(report)


def check(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="A sources file; default: the one of the settings.")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Look at each source once.")] = False,
) -> None:
    """Check the sources file, and with --fetch what each source answers."""
    from ingest.sources import load_sources
    from squall.commands.context import settings_of

    settings = settings_of(context)
    path = file or settings.path(settings.sources)
    sources = load_sources(path)
    typer.echo(f"{path}: {len(sources)} sources, no mistakes")
    if fetch and sources and not _fetched(sources, settings):
        raise typer.Exit(1)


def _fetched(sources: "list[Source]", settings: "Settings") -> bool:
    """Look at each source once and print what came of it; whether all could be read."""
    from ingest.crawler.trial import try_sources

    failed = 0
    for source, look in try_sources(sources, settings.user_agent, int(settings.max_body_mb * 1024 * 1024)):
        answer = f"{look.items} items" if look.result == "ok" else f"{look.result}: {look.detail}"
        typer.echo(f"{source.name}: {answer}")
        failed += look.result != "ok"
    typer.echo(f"{failed} could not be read" if failed else "all could be read")
    return not failed


@contextmanager
def _stopped_by_signals() -> "Iterator[Event]":
    """An event that Ctrl-C and SIGTERM set, so that what was read is still published and the summary still printed."""
    import signal
    import threading

    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise typer.BadParameter(f"--speed {text}: expected a number above 0, or max")
    return speed


def _time(option: str, text: str) -> datetime | None:
    from ingest.times import parse_time

    time = parse_time(text)
    if text and time is None:
        raise typer.BadParameter(f"{option} {text}: expected a time such as 2023-02-01 or 2023-02-01T12:00:00Z")
    return time
