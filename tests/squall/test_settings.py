"""Settings: their order, their errors, and that the docs know each one."""

import os
import re
from pathlib import Path

import pytest

from bus.errors import ConfigError
from squall.settings import Settings, load

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SQUALL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_every_setting_is_in_the_docs_with_its_description_and_no_other_is() -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (.+?) \|$", DOCS.read_text(), re.MULTILINE))
    assert set(documented) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert documented[name] == field.description, name


def test_the_environment_wins_over_the_file_and_options_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "squall.toml").write_text('sensitivity = "fewer"\npartitions = 2\nworker_batch = 10\n')
    monkeypatch.setenv("SQUALL_PARTITIONS", "3")
    monkeypatch.setenv("SQUALL_WORKER_BATCH", "20")
    settings = load(worker_batch="30")
    assert (settings.sensitivity, settings.partitions, settings.worker_batch) == ("fewer", 3, 30)


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "squall.toml").write_text('archive = "sqlite:///var/a.db"\n')
    settings = load(folder / "squall.toml")
    assert settings.path(settings.sources) == folder / "sources.yml"
    assert settings.archive_url == f"sqlite:///{folder}/var/a.db"


def test_lists_are_separated_by_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUALL_PUSH_TOKENS", "one, two")
    monkeypatch.setenv("SQUALL_HORIZONS_MINUTES", "15,60")
    settings = load()
    assert [token.get_secret_value() for token in settings.push_tokens] == ["one", "two"]
    assert settings.horizons_minutes == [15, 60]


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUALL_SLACK_WEBHOOK_URL", "https://hooks.example/secret")
    monkeypatch.setenv("SQUALL_PUSH_TOKENS", "hidden")
    assert "secret" not in repr(load()).replace("SecretStr", "").replace("secret_", "")
    assert "hidden" not in repr(load())


MISTAKES = {
    "partitions = 0\n": "partitions: Input should be greater than or equal to 1, got 0",
    'sensitivity = "loud"\n': "sensitivity: Input should be 'fewer', 'balanced' or 'more', got 'loud'",
    "no_such = 1\n": "no_such: Extra inputs are not permitted, got (hidden)",
    "horizons_minutes = []\n": "horizons_minutes: List should have at least 1 item after validation, not 0, got []",
    "horizons_minutes = [62]\n": "62: expected multiples of 5 from 5 to 10080, got [62]",
    "partitions = \n": "not TOML",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items(), ids=list(MISTAKES))
def test_a_mistake_names_setting_value_and_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "squall.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(file)
    assert str(file) in str(error.value)
    assert message in str(error.value)


def test_a_mistake_never_shows_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "squall.toml"
    for text in ('slack_webhook = "https://hooks.example/hidden"\n', 'kafka_options = "password=hidden"\n'):
        file.write_text(text)
        with pytest.raises(ConfigError) as error:
            load(file)
        assert "hooks.example" not in str(error.value)
        assert "password" not in str(error.value)


def test_a_missing_file_that_was_named_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; 'squall init DIR' writes a new one"):
        load(tmp_path / "none.toml")
