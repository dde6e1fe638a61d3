"""The commands, one module for each room; ``COMMANDS`` registers them in the order that ``--help`` shows."""

from collections.abc import Callable

import typer

from squall.commands import alerts, bench, dashboards, dead, ingest, log, model, roles, setup

COMMANDS: list[Callable[[typer.Typer], None]] = [
    setup.register,
    roles.register,
    ingest.register,
    model.register,
    alerts.register,
    dashboards.register,
    log.register,
    dead.register,
    bench.register,
]
