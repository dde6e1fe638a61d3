"""The commands, one module for each room; ``COMMANDS`` registers them in the order that ``--help`` shows."""

from collections.abc import Callable

import typer

from squall.commands import alerts, dashboards, ingest, model

COMMANDS: list[Callable[[typer.Typer], None]] = [
    ingest.register,
    model.register,
    alerts.register,
    dashboards.register,
]
