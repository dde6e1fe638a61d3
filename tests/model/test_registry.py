"""The registry: versions that never change, a live one, and nothing ever left pointing at something broken."""

import errno
import shutil
import threading
from pathlib import Path

import pytest

from bus.errors import BundleError
from bus.files import PARTIAL
from model.live import InService
from model.registry import LIVE, VERSIONS, add, go_live, live, roll_back, served, versions
from model.training.promotion import refusals
from tests.model.conftest import SHIPPED
from tests.model.versions import variant


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def first(tmp_path: Path, registry: Path) -> str:
    """A version that is live."""
    variant(SHIPPED, tmp_path / "first", 1.0)
    version = add(registry, tmp_path / "first").version
    go_live(registry, version)
    return version


@pytest.fixture
def second(tmp_path: Path, registry: Path, first: str) -> str:
    """A later version that is in the registry and not live."""
    variant(SHIPPED, tmp_path / "second", 1.1)
    return add(registry, tmp_path / "second").version


def test_without_a_promotion_the_bundle_of_the_settings_serves(registry: Path) -> None:
    assert live(registry) is None
    assert served(registry, SHIPPED) == SHIPPED
    assert versions(registry) == []


def test_versions_go_live_and_back_in_order(registry: Path, first: str, second: str) -> None:
    go_live(registry, second)
    assert served(registry, SHIPPED).name == second
    assert sorted(manifest.version for manifest in versions(registry)) == sorted([first, second])
    assert roll_back(registry).version == first
    with pytest.raises(BundleError, match="no earlier version to go back to"):
        roll_back(registry)
    assert served(registry, SHIPPED).name == first


def test_a_damaged_version_is_not_added_and_does_not_go_live(registry: Path, first: str, second: str) -> None:
    (registry / VERSIONS / second / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json: sha256 is"):
        go_live(registry, second)
    with pytest.raises(BundleError, match=r"tokenizer\.json: sha256 is"):
        add(registry, registry / VERSIONS / second)
    assert served(registry, SHIPPED).name == first


def test_what_a_crash_left_half_copied_is_no_version(registry: Path, first: str, tmp_path: Path) -> None:
    half = registry / VERSIONS / f"2026-11-24-00000000{PARTIAL}"
    shutil.copytree(SHIPPED, half)
    (half / "manifest.json").unlink()
    assert [manifest.version for manifest in versions(registry)] == [first]
    with pytest.raises(BundleError, match="holds no version"):
        go_live(registry, "2026-11-24-00000000")


def test_a_full_disk_leaves_the_registry_as_it_was(
    registry: Path, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = variant(SHIPPED, tmp_path / "third", 1.2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(BundleError, match="the registry is as it was"):
        add(registry, tmp_path / "third")
    assert [manifest.version for manifest in versions(registry)] == [first]
    assert not (registry / VERSIONS / f"{made.version}{PARTIAL}").exists()


@pytest.mark.parametrize("version", ["..", "../first", "", "nowhere"])
def test_a_version_is_a_name_and_no_path(registry: Path, first: str, version: str) -> None:
    with pytest.raises(BundleError, match="holds no version"):
        go_live(registry, version)


def test_a_broken_live_file_is_named(registry: Path, first: str) -> None:
    (registry / LIVE).write_text("{")
    with pytest.raises(BundleError, match=r"live\.json"):
        served(registry, SHIPPED)


class Loaded:
    """Stands for a classifier: only its version is asked for."""

    def __init__(self, bundle: Path) -> None:
        if (bundle / "poison").exists():
            raise ValueError(f"{bundle}: cannot be loaded")  # as odd as a warm-up may be
        self.version = bundle.name


def test_a_promoted_version_is_taken_into_service_and_a_broken_one_refused(
    registry: Path, first: str, second: str, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []
    serving = InService(registry, SHIPPED, Loaded, refused.append)
    assert serving().version == first
    go_live(registry, second)
    (registry / VERSIONS / second / "poison").touch()
    serving.look()
    serving.look()
    assert (serving().version, refused) == (first, [second]), "said once"
    assert f"cannot be loaded; version {first} goes on" in caplog.text
    roll_back(registry)
    serving.look()
    (registry / VERSIONS / second / "poison").unlink()
    go_live(registry, second)
    serving.look()
    assert serving().version == second


def test_an_unreadable_live_file_changes_nothing_in_service(registry: Path, first: str) -> None:
    refused: list[str] = []
    serving = InService(registry, SHIPPED, Loaded, refused.append)
    (registry / LIVE).write_text("{")
    serving.look()
    serving.look()
    assert (serving().version, refused) == (first, [""]), "said once"


def test_watching_ends_with_its_stop(registry: Path, first: str) -> None:
    stop = threading.Event()
    stop.set()
    InService(registry, SHIPPED, Loaded).watch(stop)


def figures(sentiment: float, topic: float = 0.8, fp32: float | None = None) -> dict[str, object]:
    def rows(value: float) -> dict[str, object]:
        return {
            "news": {
                "sentiment": {"macro_f1": value, "accuracy": value, "macro_f1_low": value - 0.02},
                "topic": {"macro_f1": topic, "accuracy": topic, "accuracy_low": topic - 0.02},
            }
        }

    return {"int8": rows(sentiment), "fp32": rows(sentiment if fp32 is None else fp32)}


def test_the_gate_lets_better_and_equal_versions_pass_and_names_what_is_worse(tmp_path: Path) -> None:
    now = variant(SHIPPED, tmp_path / "now", 1.0, figures(0.75))
    same = variant(SHIPPED, tmp_path / "same", 1.1, figures(0.74))
    worse = variant(SHIPPED, tmp_path / "worse", 1.2, figures(0.72))
    assert refusals(same, now) == refusals(worse, None) == []
    assert refusals(worse, now) == ["news sentiment: macro_f1 0.720, live 0.750 (not below 0.730)"]


def test_the_gate_refuses_what_quantizing_has_spoilt_and_what_nobody_measured(tmp_path: Path) -> None:
    spoilt = variant(SHIPPED, tmp_path / "spoilt", 1.0, figures(0.75, fp32=0.76))
    assert refusals(spoilt, None) == ["news sentiment: int8 macro_f1 0.750, fp32 0.760"]
    halved = variant(SHIPPED, tmp_path / "halved", 1.2, figures(0.75) | {"fp16": figures(0.74)["int8"]})
    assert refusals(halved, None) == ["news sentiment: fp16 macro_f1 0.740, fp32 0.750"]
    with pytest.raises(BundleError, match="holds no figures"):
        refusals(variant(SHIPPED, tmp_path / "bare", 1.1, {}), None)
