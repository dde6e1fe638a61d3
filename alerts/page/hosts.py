"""Under which names the page answers, and which forms are its own.

A stranger's page can have its own name lead to this machine (DNS rebinding), and its scripts could then read what is
answered under that name. Browsers say which name they asked for: only names that no stranger can own are answered.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers

MACHINES = frozenset({"/healthz", "/metrics", "/alertmanager"})
"""Programs ask for these under whatever name their network has for this machine (docker-compose.yml: ``alerts``). The
first two tell no story, series or name, and the third takes nothing from a browser."""


class Hosts:
    """The names of the page: every IP address, localhost, and the hosts of its settings. Ports do not matter.

    Args:
        page_host: where the page listens.
        page_url: how people reach it.
    """

    def __init__(self, page_host: str, page_url: str) -> None:
        self._names = {"localhost", page_host.lower(), _name(page_url)} - {""}

    def answer(self, path: str, host: str) -> bool:
        """Whether a request is answered, given its path and its Host header."""
        name = _name(f"//{host}")
        return path in MACHINES or name in self._names or name.endswith(".localhost") or _is_address(name)


def same_origin(headers: Headers) -> bool:
    """Whether a form was sent by the page that was asked: its origin, which browsers state, must be that host."""
    host = headers.get("host", "").lower()
    return bool(host) and headers.get("origin", "").lower() in (f"http://{host}", f"https://{host}")


def _name(url: str) -> str:
    """The name in a URL, in lower case; empty where it has none or cannot be read."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
