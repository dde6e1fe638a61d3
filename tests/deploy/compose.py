"""docker-compose.yml as the tests read it: merged, with the defaults of its variables filled in."""

import re
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"

VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")

SECRETS = {
    "POSTGRES_PASSWORD": "apasswordoftests",
    "READER_PASSWORD": "anotherone",
    "GRAFANA_ADMIN_PASSWORD": "thethird",
}
"""What a user must put into .env."""


def filled(text: str) -> str:
    """The text with variables replaced by the tests' secrets, else by their defaults."""
    return VARIABLE.sub(lambda match: SECRETS.get(match[1], match[3] if match[2] == "-" else ""), text)


def compose() -> Json:
    read: Json = yaml.safe_load(filled(FILE.read_text()))
    return read


def services() -> dict[str, Json]:
    found: dict[str, Json] = compose()["services"]
    return found


def roles() -> dict[str, Json]:
    """The services that run Squall's own image."""
    return {name: service for name, service in services().items() if service["image"].startswith("squall:")}


def environment(service: str) -> dict[str, str]:
    """What a service's process finds in its environment when .env holds the passwords alone."""
    return {name: str(value) for name, value in services()[service].get("environment", {}).items() if value is not None}
