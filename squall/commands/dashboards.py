"""Commands of the dashboards room."""

from pathlib import Path
from typing import Annotated

import typer

from squall.commands.context import settings_of

dashboards = typer.Typer(help="Grafana dashboards: build, check, push.", no_args_is_help=True)

Folder = Annotated[Path | None, typer.Option(help="Folder of the JSON; default: the one that ships.")]


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(dashboards, name="dashboards")


@dashboards.command()
def build(folder: Folder = None) -> None:
    """Write the dashboards' JSON from the Python code (needs squall[dashboards])."""
    from dashboards.build import JSON_FOLDER, write

    for path in write(folder or JSON_FOLDER):
        print(path)


@dashboards.command()
def check(folder: Folder = None) -> None:
    """Say whether the JSON is what the Python code builds; exit status 1 when not (needs squall[dashboards])."""
    from bus.errors import SquallError
    from dashboards.build import JSON_FOLDER, stale

    wrong = stale(folder or JSON_FOLDER)
    if wrong:
        raise SquallError(f"not current: {', '.join(map(str, wrong))}; run 'squall dashboards build'")
    print("dashboards are current")


@dashboards.command()
def push(
    context: typer.Context,
    folder: Folder = None,
    url: Annotated[str, typer.Option(help="Grafana's address; default: the setting grafana_url.")] = "",
) -> None:
    """Create or replace the dashboards in a running Grafana, with the setting grafana_token."""
    from bus.errors import ConfigError
    from dashboards.build import JSON_FOLDER
    from dashboards.push import push as send

    settings = settings_of(context)
    if not (url or settings.grafana_url):
        raise ConfigError("no Grafana to push to: set grafana_url or SQUALL_GRAFANA_URL, or give --url")
    if not settings.grafana_token:
        raise ConfigError("no token to push with: set SQUALL_GRAFANA_TOKEN; docs/grafana.md says how to make one")
    token = settings.grafana_token.get_secret_value()
    for address in send(url or settings.grafana_url, token, settings.page_link, folder or JSON_FOLDER):
        print(address)
