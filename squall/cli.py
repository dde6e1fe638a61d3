"""The command line. Commands import what they need inside their functions, so that ``squall --help`` is quick."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bus.errors import ConfigError, SquallError
from squall.commands import COMMANDS

app = typer.Typer(
    name="squall",
    help="Tells risk analysts when negative financial news surges beyond what is normal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Settings file; default: squall.toml of this folder.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Override one setting; may be repeated.")
    ] = None,
) -> None:
    overrides: dict[str, Any] = {}
    for item in set_ or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {item}: expected NAME=VALUE")
        overrides[name] = value
    context.obj = (config, overrides)


for register in COMMANDS:
    register(app)


def main() -> None:
    """Run the command line; an expected error is one line on standard error and exit status 1."""
    try:
        level = _log_level()
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        if level != "DEBUG":  # every connection that is made or lost; what it means for a role, the role says
            logging.getLogger("kafka").setLevel(logging.CRITICAL)
        app()
    except (SquallError, OSError) as error:  # a file that cannot be read or written is the user's to mend, too
        print(f"squall: {error}", file=sys.stderr)
        sys.exit(1)


def _log_level() -> str:
    level = os.environ.get("SQUALL_LOG_LEVEL", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        levels = "DEBUG, INFO, WARNING or ERROR"
        raise ConfigError(f"SQUALL_LOG_LEVEL: expected {levels}, got {level!r}")
    return level
