"""sources.yml: what to crawl, how often, what it weighs. A mistake names its file, line and what was expected."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from bus.errors import ConfigError

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
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; 'squall init DIR' writes a commented example") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    return parse_sources(text, str(path))


def parse_sources(text: str, file: str) -> list[Source]:
    """Read the text of a sources file; ``file`` is what errors call it. Raises ConfigError."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{file}:{line}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {str(error).splitlines()[0]}") from error
    return _Reader(file).sources(root)


class _Reader:
    """Walks the nodes of the YAML document: they still know their lines, which loaded values do not."""

    def __init__(self, file: str) -> None:
        self._file = file

    def _fail(self, node: yaml.Node, text: str) -> ConfigError:
        return ConfigError(f"{self._file}:{node.start_mark.line + 1}: {text}")

    def sources(self, root: yaml.Node | None) -> list[Source]:
        if root is None:
            raise ConfigError(f"{self._file}:1: expected 'sources:' with a list of sources, got an empty file")
        top = self._mapping(root, "the file", {"sources"})
        if "sources" not in top:
            raise self._fail(root, "expected 'sources:' with a list of sources")
        entries = top["sources"]
        if isinstance(entries, yaml.ScalarNode) and entries.tag == "tag:yaml.org,2002:null":
            return []
        if not isinstance(entries, yaml.SequenceNode):
            raise self._fail(entries, f"sources: expected a list, got {_shown(entries)}")
        if len(entries.value) > MAX_SOURCES:
            raise self._fail(entries, f"sources: expected at most {MAX_SOURCES}, got {len(entries.value)}")
        found: list[Source] = []
        lines: dict[str, int] = {}
        for node in entries.value:
            source = self._source(node)
            if source.name in lines:
                first = lines[source.name]
                raise self._fail(
                    node, f"name: {source.name!r} is taken by the source in line {first}; names are unique"
                )
            lines[source.name] = node.start_mark.line + 1
            found.append(source)
        return found

    def _source(self, node: yaml.Node) -> Source:
        fields = self._mapping(node, "a source", set(_FIELDS))
        for needed in ("name", "url"):
            if needed not in fields:
                raise self._fail(node, f"a source needs 'name' and 'url', and '{needed}' is missing")
        values: dict[str, Any] = {}
        for name, value in fields.items():
            expected, read = _FIELDS[name]
            try:
                values[name] = read(_plain(value))
            except ValueError as error:
                raise self._fail(value, f"{name}: expected {expected}, got {_shown(value)}") from error
        source = Source(**values)
        least = MIN_PRIVATE_INTERVAL if source.allow_private else MIN_INTERVAL
        if not least <= source.interval <= MAX_INTERVAL:
            shown = _shown(fields["interval"])
            raise self._fail(
                fields["interval"], f"interval: expected {least:g}s to {MAX_INTERVAL / 86_400:g}d, got {shown}"
            )
        return source

    def _mapping(self, node: yaml.Node, what: str, known: set[str]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self._fail(node, f"expected {what} to be 'field: value' lines, got {_shown(node)}")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name not in known:
                raise self._fail(key, f"unknown field {name!r}; expected one of {', '.join(sorted(known))}")
            if name in found:
                raise self._fail(key, f"{name}: stands twice in one place")
            found[name] = value
        return found


def _plain(node: yaml.Node) -> Any:
    """The value of a scalar as YAML understands it. Raises ValueError for lists and mappings."""
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError("not a scalar")
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value) if len(node.value) <= 80 else f"{node.value[:80]!r}..."
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


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


_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "name": ("1 to 60 letters, digits, '.', '_' or '-', starting with a letter or digit", _name),
    "url": ("an address that starts with http:// or https:// and holds no password", _url),
    "kind": (f"one of {', '.join(KINDS)}", _kind),
    "language": ("a language tag such as en or de-CH", _language),
    "interval": ("a number with a unit, such as 90s, 5m or 1h", _interval),
    "weight": ("a number from 0 to 10", _weight),
    "body": ("true or false", _flag),
    "allow_private": ("true or false", _flag),
}
"""For each field, what is expected in words, and the function that reads it (ValueError when it is not that)."""
