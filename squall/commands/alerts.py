"""Commands of the alerts room."""

import typer


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
