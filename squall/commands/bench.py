"""``squall bench``: the figures of this machine."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add ``bench``."""
    app.command()(bench)


def bench(
    context: typer.Context,
    only: Annotated[
        list[str] | None, typer.Option(help="Only these: log, startup, classifier, pipeline, memory; may be repeated.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="JSON lines to score; default: the demo stream's headlines.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each; the median counts.")] = 5,
) -> None:
    """Measure the log, the classifier, the whole pipeline, memory and start-up on this machine."""
    from squall.bench import BENCHMARKS, run
    from squall.commands.context import settings_of

    unknown = set(only or ()) - set(BENCHMARKS)
    if unknown:
        raise typer.BadParameter(f"--only: {', '.join(sorted(unknown))}: expected some of {', '.join(BENCHMARKS)}")
    for line in run(settings_of(context), only or list(BENCHMARKS), texts, repeats):
        typer.echo(line)
