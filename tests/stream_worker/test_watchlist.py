"""The watchlist file and finding its entities in texts."""

from pathlib import Path

import pytest

from bus.errors import ConfigError
from stream_worker.watchlist import EXAMPLE, Entity, Linker, load_watchlist

MISTAKES = {
    "": "{file}:1: expected 'entities:' with a list of entities, got an empty file",
    "entities: x\n": "{file}:1: entities: expected a list, got 'x'",
    "names: []\n": "{file}:1: unknown field 'names'; expected one of entities",
    "entities:\n  - aliases: [A B]\n": "{file}:2: an entity needs 'name', and 'name' is missing",
    "entities:\n  - name: A\n": "{file}:2: name: expected 2 to 80 printable characters, got 'A'",
    "entities:\n  - name: Shell\n    isin: S\n": (
        "{file}:3: unknown field 'isin'; expected one of aliases, name, tickers"
    ),
    "entities:\n  - name: Shell\n    tickers: [shel]\n": (
        "{file}:3: tickers: expected a list of ticker symbols in capitals, without '$', numbers in quotes, got a list"
    ),
    "entities:\n  - name: Shell\n    aliases: Royal Dutch\n": (
        "{file}:3: aliases: expected a list of names of 2 to 80 printable characters, got 'Royal Dutch'"
    ),
    "entities:\n  - name: Shell\n  - name: Shell\n": (
        "{file}:3: name: 'Shell' is taken by the entity in line 2; names are unique"
    ),
    "entities:\n  - name: [\n": "{file}:3: not YAML: expected the node content, but found '<stream end>'",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_named_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "watchlist.yml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_watchlist(file)
    assert str(error.value) == message.format(file=file)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; 'squall init DIR' writes"):
        load_watchlist(tmp_path / "watchlist.yml")


def test_the_example_is_valid() -> None:
    entities = load_watchlist(EXAMPLE)
    assert "First Republic" in {entity.name for entity in entities}


def test_one_spelling_for_two_entities_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "watchlist.yml"
    file.write_text("entities:\n  - {name: Alpha Bank, tickers: [ABC]}\n  - {name: ABC}\n")
    with pytest.raises(ConfigError, match=r"watchlist\.yml:3: 'ABC' names both 'Alpha Bank' and 'ABC'; keep one"):
        load_watchlist(file)


def test_words_that_old_yaml_takes_for_booleans_are_words(tmp_path: Path) -> None:
    file = tmp_path / "watchlist.yml"
    file.write_text("entities:\n  - {name: Onsemi, tickers: [ON]}\n  - {name: Nordic Oil, aliases: [NO]}\n")
    assert [entity.tickers or entity.aliases for entity in load_watchlist(file)] == [["ON"], ["NO"]]


WATCHED = Linker(
    [
        Entity("Apple", tickers=["AAPL"]),
        Entity("Shell"),
        Entity("Bank of America", aliases=["BofA"], tickers=["BAC"]),
        Entity("America Movil", aliases=["America"]),
        Entity("Ford", tickers=["F"]),
        Entity("SpiceJet"),
    ]
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Apple's profit falls", ["Apple"]),
        ("An apple pie for Shellfish lovers", []),
        ("SHELL AND APPLE CUT OUTLOOK", ["Shell", "Apple"]),
        ("Bank of America warns", ["Bank of America"]),
        ("America warns BofA", ["America Movil", "Bank of America"]),
        ("$F slips, F grade for schools", ["Ford"]),
        ("$AAPL and AAPL are one", ["Apple"]),
        ("Spicejet (SPICEJET) grounded", ["SpiceJet"]),
        ("", []),
    ],
)
def test_entities_are_found_at_word_boundaries(text: str, found: list[str]) -> None:
    assert WATCHED.find(text) == found


def test_an_empty_watchlist_finds_nothing() -> None:
    assert Linker([]).find("Apple") == []
