"""Commands that set Squall up and look whether all is well."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add ``init`` and ``doctor``."""
    app.command()(init)
    app.command()(doctor)


def init(folder: Annotated[Path, typer.Argument(help="The folder to set up; it may exist.")]) -> None:
    """Write commented squall.toml, sources.yml and watchlist.yml into a folder."""
    from bus.errors import ConfigError
    from ingest.sources import EXAMPLE as SOURCES
    from stream_worker.watchlist import EXAMPLE as WATCHLIST

    folder.mkdir(parents=True, exist_ok=True)
    settings = Path(__file__).parent.parent / "squall.example.toml"
    wanted = {"squall.toml": settings, "sources.yml": SOURCES, "watchlist.yml": WATCHLIST}
    for name in wanted:
        if (folder / name).exists():
            raise ConfigError(f"{folder / name} exists already and was left alone; move it away first")
    for name, example in wanted.items():
        (folder / name).write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    typer.echo(f"{folder}: wrote {', '.join(wanted)}. Next: look through them, then 'cd {folder} && squall up'")


def doctor(context: typer.Context) -> None:
    """Say what is configured, what answers and what is missing; exit status 1 when something needed is broken."""
    from squall.commands.context import settings_of
    from squall.doctor import examine

    findings = examine(settings_of(context))
    for finding in findings:
        typer.echo(f"{finding.mark:8} {finding.what:12} {finding.text}")
    if any(finding.mark == "BROKEN" for finding in findings):
        raise typer.Exit(1)
