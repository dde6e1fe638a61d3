"""watchlist.yml: the companies and people to watch, and finding them in a text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ahocorasick

from bus.yamlfile import Fields, YamlFile

EXAMPLE = Path(__file__).with_name("watchlist.example.yml")
"""The commented example that ``squall init`` copies."""

MAX_ENTITIES = 5_000
"""Entities are labels of metrics, whose number must be bounded."""

MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class Entity:
    """One entry of watchlist.yml."""

    name: str
    aliases: list[str] = field(default_factory=list)
    tickers: list[str] = field(default_factory=list)


def load_watchlist(path: Path) -> list[Entity]:
    """Read a watchlist file.

    Raises:
        ConfigError: the file is missing, is not YAML, an entry does not say what it must, or one spelling names two
            entities.
    """
    file = YamlFile.read(path)
    entities: list[Entity] = []
    lines: dict[str, int] = {}
    owners: dict[str, str] = {}
    for node in file.entries("entities", MAX_ENTITIES):
        entity = Entity(**file.values(node, "an entity", _FIELDS, ("name",)))
        file.unique(lines, entity.name, node, "entity")
        for form in _forms(entity):
            owner = owners.setdefault(form, entity.name)
            if owner != entity.name:
                raise file.fail(node, f"{form!r} names both {owner!r} and {entity.name!r}; keep one of them")
        entities.append(entity)
    return entities


def _words(value: Any) -> str:
    text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not 2 <= len(text) <= MAX_NAME or not text.isprintable() or text != text.strip():
        raise ValueError(value)
    return text


def _list_of_words(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(value)
    return [_words(item) for item in value]


def _tickers(value: Any) -> list[str]:
    # A ticker may be one letter (Ford is F); it is then only found as $F.
    if not isinstance(value, list) or not all(isinstance(item, str) and 1 <= len(item) <= 12 for item in value):
        raise ValueError(value)
    if not all(item.isascii() and item == item.upper() and not any(c.isspace() for c in item) for item in value):
        raise ValueError(value)
    return list(value)


_FIELDS: Fields = {
    "name": (f"2 to {MAX_NAME} printable characters", _words),
    "aliases": (f"a list of names of 2 to {MAX_NAME} printable characters", _list_of_words),
    "tickers": ("a list of ticker symbols in capitals, without '$', numbers in quotes", _tickers),
}


class Linker:
    """Finds watchlist entities in texts, all names at once (Aho and Corasick 1975): linear in the text's length.

    A name counts at word boundaries and as it is written in the watchlist, IN CAPITALS or In Title Case, so that
    "Apple" is not found in "apple pie" nor "Shell" in "shellfish". Tickers of fewer than three letters count only
    behind a dollar sign. Where names overlap, the longest counts ("Bank of America", not "America").
    """

    def __init__(self, entities: Sequence[Entity]) -> None:
        self._automaton = ahocorasick.Automaton()
        self._owners: dict[str, list[str]] = {}
        for entity in entities:
            for form in _forms(entity):
                owners = self._owners.setdefault(form, [])
                if entity.name not in owners:
                    owners.append(entity.name)
        for form in self._owners:
            self._automaton.add_word(form, form)
        self._automaton.make_automaton()

    def find(self, text: str) -> list[str]:
        """The names of the entities in a text, in order of appearance, each once."""
        if not self._owners:
            return []
        spans = sorted(
            ((end - len(form) + 1, end + 1, form) for end, form in self._automaton.iter(text)),
            key=lambda span: (span[0], -span[1]),
        )
        found: dict[str, None] = {}
        reached = 0
        for start, end, form in spans:
            if start < reached or not _stands_alone(text, start, end):
                continue
            reached = end
            found.update(dict.fromkeys(self._owners[form]))
        return list(found)


def _forms(entity: Entity) -> list[str]:
    """Every spelling that counts as the entity."""
    forms = [form for name in (entity.name, *entity.aliases) for form in (name, name.upper(), name.title())]
    for ticker in entity.tickers:
        forms.append(f"${ticker}")
        if len(ticker) >= 3:
            forms.append(ticker)
    return forms


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a match begins and ends at word boundaries."""
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    inside = text[start].isalnum()
    return not (inside and before.isalnum()) and not (text[end - 1].isalnum() and after.isalnum())
