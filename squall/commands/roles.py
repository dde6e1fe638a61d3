"""Commands that run roles: each alone, or all of them on one machine."""

from pathlib import Path
from typing import Annotated

import typer

NAMES = {
    "ingest": "Crawl the sources and take pushed articles.",
    "worker": "Score articles with the model.",
    "trends": "Keep every series and find spikes.",
    "archive": "Store scored articles and spikes in the archive.",
    "alerts": "Serve the page and deliver alerts.",
}


def register(app: typer.Typer) -> None:
    """Add ``up`` and a command for each role."""
    app.command()(up)
    for name, text in NAMES.items():
        app.command(name, help=f"{text} Runs until Ctrl-C or SIGTERM.", rich_help_panel="Roles")(_role(name))


def _role(name: str):  # type: ignore[no-untyped-def]
    def run(context: typer.Context) -> None:
        from squall.commands.context import open_log, settings_of
        from squall.roles import run_role

        settings = settings_of(context)
        with open_log(settings) as log:
            run_role(name, settings, log)

    return run


def up(
    context: typer.Context,
    demo: Annotated[bool, typer.Option("--demo", help="Watch a bundled stream of real headlines.")] = False,
    keep: Annotated[
        Path | None,
        typer.Option(help="With --demo: keep log and archive in this folder; default: a temporary one."),
    ] = None,
) -> None:
    """Run every role on this machine until Ctrl-C or SIGTERM."""
    from squall.commands.context import settings_of
    from squall.up import run_demo, run_up

    if demo:
        run_demo(context.obj, keep)
    else:
        run_up(settings_of(context), context.obj)
