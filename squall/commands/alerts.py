"""Commands of the alerts room: trying Slack, and taking out what readers corrected."""

from pathlib import Path
from typing import Annotated

import typer

from squall.commands.context import settings_of

labels = typer.Typer(help="Corrections of labels that people made on the page.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command("alerts-test")(alerts_test)
    app.add_typer(labels, name="labels")


def alerts_test(context: typer.Context) -> None:
    """Post a test message to Slack and say what it answered."""
    from alerts.message import trial_message
    from alerts.slack import Slack
    from bus.errors import ConfigError

    webhook = settings_of(context).slack_webhook_url
    if not webhook:
        raise ConfigError("no Slack to post to: set SQUALL_SLACK_WEBHOOK_URL; docs/alerts.md says how to get one")
    Slack(webhook.get_secret_value()).send(trial_message())
    print("Slack took the message")


@labels.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV file to write; an existing one is replaced.")],
) -> None:
    """Write every correction as CSV: article, head, old and new label, time, title, summary, source, model version."""
    from alerts.archive.store import Store
    from alerts.labels import write_csv

    with Store(settings_of(context).archive_url) as store:
        count = write_csv(store.read.labels(), file)
    print(f"{file}: {count} corrections")
