"""Bundles that are not what they should be: each is refused with one clear line."""

import re
from datetime import date
from pathlib import Path

import msgspec
import pytest

from bus.errors import BundleError
from model.bundle import MANIFEST, SCHEMA, Manifest, load_manifest, sha256_of, verify, version_of, write_manifest
from model.classifier import Classifier
from tests.model.conftest import SHIPPED


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that is whole, though its model is no model."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.int8.onnx").write_bytes(b"weights")
    (folder / "tokenizer.json").write_bytes(b"{}")
    files = {name: sha256_of(folder / name) for name in ("model.int8.onnx", "tokenizer.json")}
    labels = {"sentiment": ["bad", "good"], "topic": ["oil"], "relevance": ["no", "yes"]}
    temperatures = {"sentiment": 1.0, "topic": 1.0, "relevance": 1.0}
    manifest = Manifest(
        version=version_of(date(2026, 11, 24), files, labels, temperatures, 32),
        languages=["en"],
        labels=labels,
        temperatures=temperatures,
        max_tokens=32,
        files=files,
        encoder="none",
        licences={"weights": "Apache-2.0"},
    )
    write_manifest(folder, manifest)
    return folder


def refusal(folder: Path) -> str:
    """The message with which a bundle is refused, its folder left out."""
    with pytest.raises(BundleError) as caught:
        verify(folder)
    return str(caught.value).replace(str(folder), "BUNDLE")


def test_a_whole_bundle_is_accepted(bundle: Path) -> None:
    assert verify(bundle) == load_manifest(bundle)
    assert re.fullmatch(r"2026-11-24-[0-9a-f]{8}", verify(bundle).version)


def test_missing_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere") == (
        "BUNDLE: no such folder; expected a bundle; 'squall model finetune' makes one"
    )


def test_missing_manifest(bundle: Path) -> None:
    (bundle / MANIFEST).unlink()

    assert refusal(bundle) == (
        "BUNDLE/manifest.json: No such file or directory; a bundle made by 'squall model finetune' holds one"
    )


def test_missing_file(bundle: Path) -> None:
    (bundle / "tokenizer.json").unlink()

    assert refusal(bundle) == (
        "BUNDLE/tokenizer.json: no such file, but manifest.json lists it; restore it from the bundle's origin"
    )


def test_changed_file(bundle: Path) -> None:
    expected = sha256_of(bundle / "model.int8.onnx")
    (bundle / "model.int8.onnx").write_bytes(b"weightz")

    assert refusal(bundle) == (
        f"BUNDLE/model.int8.onnx: sha256 is {sha256_of(bundle / 'model.int8.onnx')}, expected {expected}; "
        "the file is damaged or was replaced: restore it from the bundle's origin"
    )


def test_newer_schema(bundle: Path) -> None:
    text = (bundle / MANIFEST).read_text().replace('"schema": 1', '"schema": 2')
    (bundle / MANIFEST).write_text(text)

    assert refusal(bundle) == f"BUNDLE/manifest.json: schema 2, but this program reads schema {SCHEMA}: upgrade Squall"


def test_broken_manifest(bundle: Path) -> None:
    (bundle / MANIFEST).write_bytes((bundle / MANIFEST).read_bytes()[:40])

    assert refusal(bundle) == (
        "BUNDLE/manifest.json: not a manifest: Input data was truncated; restore it from the bundle's origin"
    )


def test_manifest_with_a_field_of_the_wrong_type(bundle: Path) -> None:
    text = (bundle / MANIFEST).read_text().replace('"max_tokens": 32', '"max_tokens": "many"')
    (bundle / MANIFEST).write_text(text)

    assert refusal(bundle) == (
        "BUNDLE/manifest.json: not a manifest: Expected `int`, got `str` - at `$.max_tokens`; "
        "restore it from the bundle's origin"
    )


def test_labels_changed_by_hand(bundle: Path) -> None:
    manifest = load_manifest(bundle)
    write_manifest(bundle, msgspec.structs.replace(manifest, labels=manifest.labels | {"topic": ["gas"]}))

    assert re.fullmatch(
        r"BUNDLE/manifest\.json: its content is that of version 2026-11-24-[0-9a-f]{8}, but it says "
        + re.escape(manifest.version)
        + r"; restore it from the bundle's origin",
        refusal(bundle),
    )


def test_version_that_is_none(bundle: Path) -> None:
    write_manifest(bundle, msgspec.structs.replace(load_manifest(bundle), version="latest"))

    assert refusal(bundle) == (
        "BUNDLE/manifest.json: version 'latest', expected a day and 8 hexadecimal digits; "
        "restore it from the bundle's origin"
    )


def test_file_name_that_leads_out_of_the_bundle(bundle: Path) -> None:
    manifest = load_manifest(bundle)
    write_manifest(bundle, msgspec.structs.replace(manifest, files={"../other": "0" * 64}))

    assert refusal(bundle) == (
        "BUNDLE/manifest.json: file name '../other', expected one inside the bundle; "
        "restore it from the bundle's origin"
    )


def test_model_that_is_no_onnx(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.int8\.onnx: onnxruntime cannot load it on cpu: .+"):
        Classifier.load(bundle)


def test_bundle_without_a_file_for_the_gpu(bundle: Path) -> None:
    with pytest.raises(BundleError) as caught:
        Classifier.load(bundle, device="cuda")

    assert str(caught.value) == (
        f"{bundle}: holds no model.fp16.onnx, which device cuda needs; 'squall model finetune --fp16' writes both"
    )


def test_the_bundle_that_ships_is_whole_small_and_licensed() -> None:
    manifest = verify(SHIPPED)

    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 50 * 2**20
    assert manifest.languages == ["en"]
    assert manifest.licences["weights"] == "Apache-2.0"
    assert manifest.licences["encoder"].startswith(("Apache-2.0", "MIT"))
    assert all(each.licence and each.rows and each.files for each in manifest.data)
    assert {"README.md", "LICENSE", "NOTICE"} <= {file.name for file in SHIPPED.iterdir()}
    assert not any("valid" in each.name or "phrasebank" in each.name for each in manifest.data)
