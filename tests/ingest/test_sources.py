"""sources.yml: what is read, and one fixture for each mistake with the exact message."""

from pathlib import Path

import pytest

from bus.errors import ConfigError
from ingest.sources import EXAMPLE, MAX_SOURCES, Source, load_sources

FIXTURES = Path(__file__).parent / "sources"

NAME = "expected 1 to 60 letters, digits, '.', '_' or '-', starting with a letter or digit"

URL = "expected an address that starts with http:// or https:// and holds no password"

MISTAKES = {
    "empty.yml": ":1: expected 'sources:' with a list of sources, got an empty file",
    "not-yaml.yml": ":3: not YAML: mapping values are not allowed here",
    "control-character.yml": ": not YAML: unacceptable character #x0000: special characters are not allowed",
    "a-list-at-the-top.yml": ":2: expected the file to be 'field: value' lines, got a list",
    "unknown-section.yml": ":1: unknown field 'feeds'; expected one of sources",
    "sources-no-list.yml": ":1: sources: expected a list, got 'https://a.example/feed'",
    "source-no-mapping.yml": ":2: expected a source to be 'field: value' lines, got 'https://a.example/feed'",
    "name-missing.yml": ":2: a source needs 'name' and 'url', and 'name' is missing",
    "url-missing.yml": ":2: a source needs 'name' and 'url', and 'url' is missing",
    "unknown-field.yml": (
        ":4: unknown field 'intervall'; expected one of"
        " allow_private, body, interval, kind, language, name, url, weight"
    ),
    "field-twice.yml": ":4: url: stands twice in one place",
    "name-taken.yml": ":4: name: 'wire' is taken by the source in line 2; names are unique",
    "name-with-quotes.yml": f":2: name: {NAME}, got 'The \"Wire\"'",
    "name-too-long.yml": f":2: name: {NAME}, got '{'w' * 61}'",
    "url-scheme.yml": f":3: url: {URL}, got 'ftp://a.example/feed'",
    "url-no-host.yml": f":3: url: {URL}, got 'https:///feed'",
    "url-port.yml": f":3: url: {URL}, got 'https://a.example:99999/'",
    "url-password.yml": f":3: url: {URL}, got 'https://me:secret@a.example/'",
    "url-list.yml": f":3: url: {URL}, got a list",
    "kind.yml": ":4: kind: expected one of auto, feed, sitemap, jsonfeed, got 'rss'",
    "language.yml": ":4: language: expected a language tag such as en or de-CH, got 'English'",
    "interval-without-unit.yml": ":4: interval: expected a number with a unit, such as 90s, 5m or 1h, got '300'",
    "interval-too-short.yml": ":4: interval: expected 30s to 7d, got '5s'",
    "interval-too-long.yml": ":4: interval: expected 30s to 7d, got '30d'",
    "weight.yml": ":4: weight: expected a number from 0 to 10, got '-1'",
    "weight-not-a-number.yml": ":4: weight: expected a number from 0 to 10, got '.nan'",
    "body.yml": ":4: body: expected true or false, got 'sometimes'",
    "allow-private.yml": ":4: allow_private: expected true or false, got '1'",
}


@pytest.mark.parametrize("file", MISTAKES)
def test_a_mistake_names_file_line_and_expectation(file: str) -> None:
    path = FIXTURES / file
    with pytest.raises(ConfigError) as error:
        load_sources(path)
    assert str(error.value) == f"{path}{MISTAKES[file]}"


def test_every_fixture_is_a_mistake_that_is_tested() -> None:
    assert {path.name for path in FIXTURES.iterdir()} == set(MISTAKES)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sources\.yml: no such file; 'squall init DIR' writes a commented example"):
        load_sources(tmp_path / "sources.yml")


def test_a_file_that_is_no_text_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "sources.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as UTF-8 text"):
        load_sources(tmp_path / "sources.yml")


def sources_of(folder: Path, text: str) -> list[Source]:
    """What a file with this text says."""
    (folder / "sources.yml").write_text(text)
    return load_sources(folder / "sources.yml")


def test_defaults_and_every_field(tmp_path: Path) -> None:
    text = """
sources:
  - name: wire
    url: https://a.example/feed
  - {name: 2024, url: "http://10.0.0.1/x", kind: sitemap, language: no, interval: 1s, weight: 2, body: true,
     allow_private: true}
"""
    assert sources_of(tmp_path, text) == [
        Source("wire", "https://a.example/feed", "auto", "", 300.0, 1.0, False, False),
        Source("2024", "http://10.0.0.1/x", "sitemap", "no", 1.0, 2.0, True, True),
    ]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("2h", 7_200), ("1d", 86_400), ("5 m", 300)])
def test_intervals_have_units(tmp_path: Path, text: str, seconds: float) -> None:
    (source,) = sources_of(tmp_path, f"sources: [{{name: a, url: 'http://a.example', interval: {text}}}]")
    assert source.interval == seconds


def test_an_empty_list_is_no_mistake(tmp_path: Path) -> None:
    assert sources_of(tmp_path, "sources:\n") == []
    assert sources_of(tmp_path, "sources: []\n") == []


def test_sources_are_bounded(tmp_path: Path) -> None:
    text = "sources:\n" + "".join(f"- {{name: s{i}, url: 'http://a.example'}}\n" for i in range(MAX_SOURCES + 1))
    with pytest.raises(ConfigError, match="yml:2: sources: expected at most 2000, got 2001"):
        sources_of(tmp_path, text)


def test_the_example_is_valid_and_needs_nothing_private() -> None:
    sources = load_sources(EXAMPLE)
    assert len(sources) >= 15
    assert not any(source.allow_private or source.body for source in sources)
    assert {source.url.partition(":")[0] for source in sources} == {"https"}
