"""sources.yml: what to crawl, how often, what it weighs. A mistake names its file, line and what was expected."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bus.yamlfile import Fields, YamlFile, shown

EXAMPLE = Path(__file__).with_name("sources.example.yml")
"""The commented example that ``squall init`` copies."""

KINDS = ("auto", "feed", "sitemap", "jsonfeed")

DEFAULT_INTERVAL = 300.0

MIN_INTERVAL = 30.0
"""Seconds between two looks at somebody else's server."""

MIN_PRIVATE_INTERVAL = 1.0
"""Seconds between two looks at one's own server."""

MAX_INTERVAL = 7 * 86_400.0

MAX_SOURCES = 2_000
"""Sources are labels of metrics, whose number must be bounded."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
"""Names are labels and parts of series names (``source:<name>``): short and without meaningful punctuation."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}")
_INTERVAL = re.compile(r"(\d+)\s*([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of sources.yml."""

    name: str
    url: str
    kind: str = "auto"
    language: str = ""
    """BCP 47 tag of its articles; empty: what each item states, else the worker finds out."""
    interval: float = DEFAULT_INTERVAL
    """Seconds between two looks."""
    weight: float = 1.0
    """How much one negative article adds to a spike."""
    body: bool = False
    """Whether to fetch each article's page for its text."""
    allow_private: bool = False
    """Whether private and loopback addresses may be reached for it."""


def load_sources(path: Path) -> list[Source]:
    """Read a sources file.

    Raises:
        ConfigError: the file is missing, is not YAML, or an entry does not say what it must.
    """
    file = YamlFile.read(path)
    found: list[Source] = []
    lines: dict[str, int] = {}
    for node in file.entries("sources", MAX_SOURCES):
        source = Source(**file.values(node, "a source", _FIELDS, ("name", "url")))
        least = MIN_PRIVATE_INTERVAL if source.allow_private else MIN_INTERVAL
        if not least <= source.interval <= MAX_INTERVAL:
            given = file.mapping(node, "a source", set(_FIELDS))["interval"]
            expected = f"{least:g}s to {MAX_INTERVAL / 86_400:g}d"
            raise file.fail(given, f"interval: expected {expected}, got {shown(given)}")
        file.unique(lines, source.name, node, "source")
        found.append(source)
    return found


def _name(value: Any) -> str:
    return _matching(str(value) if isinstance(value, int) and not isinstance(value, bool) else value, NAME)


def _url(value: Any) -> str:
    if not isinstance(value, str) or any(character.isspace() for character in value):
        raise ValueError(value)
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.port == 0:
        raise ValueError(value)
    return value


def _kind(value: Any) -> str:
    if value not in KINDS:
        raise ValueError(value)
    return str(value)


def _language(value: Any) -> str:
    # YAML 1.1 reads the tag of Norwegian as false.
    return _matching("no" if value is False else value, _LANGUAGE)


def _interval(value: Any) -> float:
    match = _INTERVAL.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(value)
    return float(match[1]) * _UNITS[match[2]]


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 10:
        raise ValueError(value)
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _matching(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(value)
    return value


_FIELDS: Fields = {
    "name": ("1 to 60 letters, digits, '.', '_' or '-', starting with a letter or digit", _name),
    "url": ("an address that starts with http:// or https:// and holds no password", _url),
    "kind": (f"one of {', '.join(KINDS)}", _kind),
    "language": ("a language tag such as en or de-CH", _language),
    "interval": ("a number with a unit, such as 90s, 5m or 1h", _interval),
    "weight": ("a number from 0 to 10", _weight),
    "body": ("true or false", _flag),
    "allow_private": ("true or false", _flag),
}
