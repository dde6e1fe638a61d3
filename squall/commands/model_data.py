"""Commands about the data that models are trained on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squall.commands.context import bundle_of, settings_of
from squall.commands.training import DataOption, data_root, needs_training, progress

if TYPE_CHECKING:
    from squall.settings import Settings

data = typer.Typer(help="The data that models are trained on.", no_args_is_help=True)

ARCHIVED = 5_000
"""Articles of the archive that stand for the live stream: some days of it."""


@data.command()
def report(
    context: typer.Context,
    data: DataOption = None,
    config: Annotated[Path | None, typer.Option(help="Recipe in TOML whose sets to look at.")] = None,
    live: Annotated[
        Path | None,
        typer.Option(help="Articles to compare with, one JSON object a line; default: from the archive."),
    ] = None,
    suspects: Annotated[bool, typer.Option(help="Look for label errors: takes some minutes.")] = True,
    json: Annotated[Path, typer.Option(help="Where to write the figures.")] = Path("data-report.json"),
    html: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("data-report.html"),
) -> None:
    """Check the training sets: label mix, repeats, near copies across the split, languages, label errors, drift."""
    settings = settings_of(context)
    root = data_root(settings, data)
    with needs_training():
        from model.training.config import read_config
        from model.training.data_report import live_texts, report_data, write_data_report

        texts = live_texts(live) if live else _archived(settings)
        found = report_data(
            read_config(config), root, progress, find_suspects=suspects, live=texts, bundle=bundle_of(settings)
        )
        write_data_report(found, json, html)
    typer.echo(f"{html} and {json}: {len(found.sets)} sets, {found.train + found.development} texts")


def _archived(settings: "Settings") -> list[str]:
    """The newest scored articles of the archive; none where nothing has run yet."""
    if settings.archive_file and not settings.archive_file.is_file():
        return []
    from datetime import UTC, datetime

    from alerts.archive.store import Store
    from bus.messages import OUTCOMES
    from model.text import article_text

    with Store(settings.archive_url) as store:
        since = datetime(1, 1, 1, tzinfo=UTC)
        articles = [
            each
            for outcome in OUTCOMES
            if outcome != "unscored"
            for each in store.read.latest(outcome, since, ARCHIVED)
        ]
    newest = sorted(articles, key=lambda article: article.published_at, reverse=True)[:ARCHIVED]
    return [article_text(article.title, article.summary) for article in newest]
