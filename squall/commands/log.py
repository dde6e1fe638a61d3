"""Commands on the topics of the log."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add ``topics``."""
    topics = typer.Typer(help="The topics of the log.", invoke_without_command=True)
    topics.callback()(list_topics)
    topics.command()(apply)
    app.add_typer(topics, name="topics")


def list_topics(context: typer.Context) -> None:
    """Show the topics of the log, creating those that are missing, with the lag of each reader."""
    if context.invoked_subcommand:
        return
    from bus.topics import ARTICLES, DEAD, SCORED, SPIKES, TALLIES, TRENDS
    from squall.commands.context import open_log, settings_of

    readers = {
        ARTICLES: ["worker"],
        SCORED: ["archive"],
        TALLIES: ["trends"],
        TRENDS: ["archive"],
        SPIKES: ["archive", "alerts"],
        DEAD: [],
    }
    with open_log(settings_of(context)) as log:
        for topic, groups in readers.items():
            lags = ", ".join(f"{group} lags {log.lag(group, topic)}" for group in groups)
            typer.echo(f"{topic:15} {log.partitions(topic):3} partitions  {sum(log.ends(topic)):9} written  {lags}")


def apply(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Make the changes instead of only showing them.")] = False,
) -> None:
    """Show where the topics differ from the settings (partitions, retention, compaction), and with --yes change them.

    What cannot be changed is shown with the reason, and the exit status is then 1.
    """
    from bus.topics import news_topics
    from squall.commands.context import log_of, settings_of

    settings = settings_of(context)
    wanted = news_topics(settings.partitions, settings.retention_days)
    with log_of(settings) as log:
        changes = log.changes(wanted)
        for change in changes:
            reason = f"  (not possible: {change.obstacle})" if change.obstacle else ""
            typer.echo(f"{change.topic:15} {change.setting}: {change.now} -> {change.wanted}{reason}")
        possible = [change for change in changes if not change.obstacle]
        if possible and yes:
            log.apply(wanted)
            typer.echo(f"{len(possible)} changes made")
        elif possible:
            typer.echo(f"{len(possible)} changes; --yes makes them")
        elif not changes:
            typer.echo("the topics are as the settings want them")
    if len(possible) < len(changes):
        raise typer.Exit(1)
