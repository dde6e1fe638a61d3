"""Send the committed dashboards to a running Grafana through its HTTP API."""

import json
from pathlib import Path
from typing import Any

from bus.errors import SquallError
from dashboards.build import JSON_FOLDER
from dashboards.names import PAGE_VARIABLE

TIMEOUT = 10.0
"""Seconds for one request; Grafana on SQLite saves a dashboard in well under one."""

STRANGER = "something answers there, but not as Grafana does; is grafana_url right?"


class GrafanaError(SquallError):
    """Raised when Grafana cannot be reached or does not take a dashboard."""


def push(url: str, token: str, page: str, folder: Path = JSON_FOLDER) -> list[str]:
    """Create or replace every dashboard of a folder; the addresses where they stand now.

    Args:
        url: Grafana's address, with the path it is served under if any.
        token: a service account's token with the role Editor.
        page: the address of Squall's page, for the panels' links.

    Raises:
        GrafanaError: unreachable, refused the token, or refused a dashboard.
    """
    import niquests
    from grafana_client.api import GrafanaApi
    from grafana_client.client import GrafanaException, GrafanaUnauthorizedError

    base = url.rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise GrafanaError(f"{url!r}: grafana_url must start with http:// or https://")
    addresses = []
    try:
        api = GrafanaApi.from_url(base + "/", token, timeout=TIMEOUT)
        for path in sorted(folder.glob("*.json")):
            dashboard = _linked(json.loads(path.read_text(encoding="utf-8")), page)
            answer = api.dashboard.update_dashboard(
                {"dashboard": dashboard, "overwrite": True, "message": "squall dashboards push"}
            )
            if not isinstance(answer, dict) or "uid" not in answer:
                raise GrafanaError(f"{base}: {STRANGER}")
            addresses.append(f"{base}/d/{answer['uid']}")
    except GrafanaUnauthorizedError as error:
        raise GrafanaError(
            f"{url}: Grafana refuses the token (401); grafana_token must be a service account's"
        ) from error
    except GrafanaException as error:
        raise GrafanaError(f"{base}: {_told(error)}") from error
    except niquests.exceptions.InvalidJSONError as error:
        raise GrafanaError(f"{base}: {STRANGER}") from error
    except niquests.RequestException as error:
        raise GrafanaError(
            f"{base}: Grafana does not answer ({type(error).__name__}); is grafana_url right?"
        ) from error
    return addresses


def _linked(dashboard: dict[str, Any], page: str) -> dict[str, Any]:
    """The dashboard with the page's address in its constant."""
    for variable in dashboard["templating"]["list"]:
        if variable["name"] == PAGE_VARIABLE:
            variable["query"] = page
    return dashboard


def _told(error: Any) -> str:
    """Why Grafana did not take it, in its own words, and what to do where that is known."""
    if error.status_code == 0:
        return f"Grafana does not answer within {TIMEOUT:g} s"
    message = error.response.get("message", error.response) if isinstance(error.response, dict) else error.message
    if error.status_code == 400 and "provisioned" in str(message).lower():
        return f"{message}: this Grafana reads the dashboard from a file already; nothing to push"
    if error.status_code == 403:
        return f"{message} (403): the token's service account needs the role Editor"
    return f"Grafana answered {error.status_code}: {message}"
