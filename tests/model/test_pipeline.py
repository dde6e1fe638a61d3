"""Fine-tune, export, calibrate, evaluate: the whole loop on a tiny encoder and invented texts."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bus.errors import BundleError, ConfigError
from model.bundle import verify
from model.classifier import Classifier
from model.training.config import Config
from model.training.data import Example


def test_a_bundle_made_from_labelled_texts_judges_texts_it_never_saw(tiny: Path) -> None:
    classifier = Classifier.load(tiny, threads=1)

    verdicts = classifier.classify(["oil slumps sharply today", "euro wins again late", "senate meets quietly"])

    assert [verdict.sentiment.label for verdict in verdicts] == ["negative", "positive", "neutral"]
    assert [verdict.topic.label for verdict in verdicts] == ["Energy | Oil", "Currencies", "Politics"]
    assert [verdict.relevance.label for verdict in verdicts] == ["relevant", "relevant", "irrelevant"]


def test_a_bundle_says_what_it_was_made_of(tiny: Path, recipe: Config) -> None:
    manifest = verify(tiny)

    assert {each.name: each.rows for each in manifest.data} == {"news": 360, "wide_news": 120, "sentfin": 120}
    assert [file.name for file in manifest.data[0].files] == ["stream/labels.tsv", "stream/rss_2023-01.jsonl"]
    assert manifest.recipe["learning_rate"] == recipe.learning_rate
    assert manifest.licences["encoder"] == "none, random weights"
    assert manifest.parent == "the one before"
    assert 0 < manifest.metrics["training_seconds"] < 600
    assert all(0.25 <= value <= 8 for value in manifest.temperatures.values())


def test_the_figures_of_int8_and_fp16_stand_beside_those_of_fp32(tiny: Path) -> None:
    metrics = verify(tiny).metrics

    for head in ("sentiment", "topic", "relevance"):
        int8, fp16, fp32 = (metrics[kind]["news"][head] for kind in ("int8", "fp16", "fp32"))
        assert fp16["macro_f1"] == pytest.approx(fp32["macro_f1"], abs=0.01)
        assert fp32["accuracy"] > 0.9
        assert int8["rows"] == fp32["rows"] > 30
        assert int8["macro_f1"] == pytest.approx(fp32["macro_f1"], abs=0.05)
    assert 0 <= metrics["int8"]["sentfin"]["share_relevant"] <= 1


def test_the_model_card_names_version_figures_command_and_limits(tiny: Path) -> None:
    card = (tiny / "README.md").read_text()

    assert verify(tiny).version in card
    assert "| news | sentiment |" in card
    assert "squall test" in card
    assert "What it cannot do" in card
    assert "learning_rate = 0.003" in card
    assert "[[teachers]]" not in card
    assert "What it gets wrong" in card
    assert "fp16, the file for GPUs" in card
    assert "none, random weights" in (tiny / "NOTICE").read_text()
    assert "Apache License" in (tiny / "LICENSE").read_text()


def test_a_bundle_says_what_it_takes_for_what_and_how_it_answered(tiny: Path) -> None:
    manifest = verify(tiny)

    for each in manifest.metrics["confusions"]:
        assert each["label"] != each["answer"]
        assert 0 < each["texts"] <= each["of"]
    assert set(manifest.metrics["mistakes"]) == {"sentfin"}, "texts of the news are not quoted"
    rows = sum(manifest.metrics["int8"][name]["sentiment"]["rows"] for name in ("news", "wide_news"))
    for head, reference in manifest.reference.items():
        assert sum(reference.labels) == sum(reference.confidence) == rows, head


def test_hugging_face_tools_read_configuration_and_tokenizer(tiny: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    assert AutoConfig.from_pretrained(tiny).num_hidden_layers == 2
    assert AutoTokenizer.from_pretrained(tiny)("oil falls")["input_ids"][0] == 2


def test_a_finished_fine_tune_is_exported_again_without_training_again(
    tiny: Path, recipe: Config, data: Path, tmp_path: Path
) -> None:
    from model.training.pipeline import make_bundle

    lines: list[str] = []
    again = make_bundle(recipe, data, tiny.with_name("work"), tmp_path / "again", lines.append)

    assert any("going on after epoch 8" in line for line in lines)
    assert not any("step" in line for line in lines)
    assert again.metrics["int8"]["news"]["topic"]["accuracy"] > 0.9


def test_a_checkpoint_of_another_recipe_is_refused(tiny: Path, recipe: Config, data: Path, tmp_path: Path) -> None:
    from model.training.pipeline import make_bundle

    other = msgspec.structs.replace(recipe, learning_rate=1e-3)

    with pytest.raises(ConfigError, match=r"by another recipe or data \(learning_rate was 0\.003, now 0\.001\)"):
        make_bundle(other, data, tiny.with_name("work"), tmp_path / "other", lambda line: None)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\x03\x04 cut"])
def test_a_damaged_checkpoint_is_named(recipe: Config, tmp_path: Path, content: bytes) -> None:
    from model.training.finetune import Lesson, finetune
    from model.training.targets import targets_of

    examples = [Example("news", f"oil falls {i}", sentiment=i % 3) for i in range(9)]
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"checkpoint\.pt: not a checkpoint: .*; delete it to start again"):
        finetune(recipe, Lesson(examples, targets_of(examples, recipe.sets)), 32, tmp_path, lambda line: None)


def test_stopping_early_needs_texts_to_stop_by(recipe: Config, tmp_path: Path) -> None:
    from model.training.finetune import Lesson, finetune
    from model.training.targets import targets_of

    examples = [Example("news", f"oil falls {i}", sentiment=i % 3) for i in range(9)]
    patient = msgspec.structs.replace(recipe, patience=1)
    with pytest.raises(ConfigError, match="patience 1: no text of news, wide_news, sentfin is kept for development"):
        finetune(patient, Lesson(examples, targets_of(examples, recipe.sets)), 32, tmp_path, lambda line: None)


def test_a_bundle_is_never_written_over(tiny: Path, recipe: Config, data: Path) -> None:
    from model.training.pipeline import make_bundle

    before = (tiny / "manifest.json").read_bytes()

    with pytest.raises(BundleError, match="exists already; choose another --out"):
        make_bundle(recipe, data, tiny.with_name("work"), tiny, lambda line: None)
    assert (tiny / "manifest.json").read_bytes() == before


def test_an_encoder_that_does_not_exist_is_named(data: Path, recipe: Config, tmp_path: Path) -> None:
    from model.training.pipeline import make_bundle

    other = msgspec.structs.replace(recipe, encoder=str(tmp_path / "nowhere"))

    with pytest.raises(ConfigError, match=r"nowhere.*give minilm-l6 or a folder"):
        make_bundle(other, data, tmp_path / "work", tmp_path / "bundle", lambda line: None)


def test_an_export_that_does_not_fuse_is_refused(tiny: Path, tmp_path: Path) -> None:
    from model.training.export import fuse, to_onnx
    from model.training.network import load

    network, _ = load(tiny.with_name("work"))
    to_onnx(network, tmp_path / "plain.onnx")
    network.encoder.config.num_hidden_layers = 3  # type: ignore[union-attr]

    with pytest.raises(BundleError, match=r"fused .*'Attention': 2.* expected .*'Attention': 3"):
        fuse(network, tmp_path / "plain.onnx", tmp_path / "fused.onnx")


def test_an_export_that_differs_from_pytorch_is_refused(tiny: Path, tmp_path: Path) -> None:
    import torch

    from model.training.export import check_parity, fuse, to_onnx
    from model.training.network import load

    network, tokenizer = load(tiny.with_name("work"))
    to_onnx(network, tmp_path / "plain.onnx")
    fuse(network, tmp_path / "plain.onnx", tmp_path / "fused.onnx")
    assert check_parity(network, tokenizer, tmp_path / "fused.onnx", ["oil falls", "euro"], 32) < 1e-4
    with torch.no_grad():
        network.heads["topic"].bias.add_(0.01)  # type: ignore[operator]

    with pytest.raises(BundleError, match=r"differ from PyTorch's by 0\.01, expected at most 0\.0001"):
        check_parity(network, tokenizer, tmp_path / "fused.onnx", ["oil falls", "euro"], 32)


def test_a_gpu_is_never_replaced_by_the_cpu_in_silence(tiny: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("a GPU is at hand")
    with pytest.raises(BundleError, match=r"device cuda was asked for, but onnxruntime offers .*squall\[gpu\]"):
        Classifier.load(tiny, device="cuda")


def test_an_empty_training_part_is_an_error(recipe: Config, tmp_path: Path) -> None:
    from model.training.finetune import Lesson, finetune
    from model.training.targets import targets_of

    with pytest.raises(ConfigError, match="no example to train on in news, wide_news, sentfin"):
        finetune(recipe, Lesson([], targets_of([], recipe.sets)), 32, tmp_path, lambda line: None)


def test_labels_that_are_all_the_same_are_an_error(recipe: Config, tmp_path: Path) -> None:
    from model.training.finetune import Lesson, finetune
    from model.training.targets import targets_of

    examples = [Example("news", f"oil falls {i}", sentiment=i % 3, topic=6) for i in range(9)]
    with pytest.raises(ConfigError, match=r"every topic in news, wide_news, sentfin is 'Energy \| Oil': nothing"):
        finetune(recipe, Lesson(examples, targets_of(examples, recipe.sets)), 32, tmp_path, lambda line: None)
    assert not list(tmp_path.iterdir())


def test_training_stops_early_and_keeps_its_best_epoch(recipe: Config, tmp_path: Path) -> None:
    from model.training.finetune import Lesson, finetune
    from model.training.targets import targets_of

    words = {"falls": 0, "says": 1, "wins": 2}
    right = [Example("news", f"oil {word} {i}", sentiment=words[word]) for i in range(30) for word in words]
    # Of these texts the labels are wrong: the better the network learns, the worse it does on them.
    wrong = [Example("news", f"oil {word} {i}", sentiment=(words[word] + 1) % 3) for i in range(9) for word in words]
    patient = msgspec.structs.replace(recipe, epochs=30, patience=2)
    lines: list[str] = []
    lessons = [Lesson(part, targets_of(part, recipe.sets)) for part in (right, wrong)]
    finetune(patient, lessons[0], 32, tmp_path, lines.append, lessons[1])

    losses = [
        float(line.split(" loss ")[1].split()[0]) for line in lines if "kept for development" in line and "loss" in line
    ]
    assert len(losses) < 30
    assert losses.index(min(losses)) == len(losses) - 3
    assert "stopping" in lines[-1]


class Interrupted(Exception):
    """The fine-tune was cut off."""


@pytest.mark.parametrize("patience", [0, 2])
def test_a_fine_tune_that_was_cut_off_ends_as_if_it_had_not_been(recipe: Config, tmp_path: Path, patience: int) -> None:
    import torch

    from model.training.finetune import Lesson, finetune
    from model.training.network import load
    from model.training.targets import targets_of

    words = {"falls": 0, "says": 1, "wins": 2}
    parts = [
        [Example("news", f"{a} {word} {i}", sentiment=words[word]) for i in range(30) for word in words] for a in "ab"
    ]
    lesson, held = (Lesson(part, targets_of(part, recipe.sets)) for part in parts)
    recipe = msgspec.structs.replace(recipe, epochs=4, patience=patience)

    def cut(line: str) -> None:
        if line.startswith("epoch 3/4 step"):
            raise Interrupted

    whole, cut_off = tmp_path / "whole", tmp_path / "cut off"
    finetune(recipe, lesson, 32, whole, lambda line: None, held)
    with pytest.raises(Interrupted):
        finetune(recipe, lesson, 32, cut_off, cut, held)
    before = torch.load(cut_off / "checkpoint.pt")["seconds"]
    lines: list[str] = []
    seconds = finetune(recipe, lesson, 32, cut_off, lines.append, held)

    assert "going on after epoch 2" in lines[0]
    assert seconds > before > 0, "the time of both runs counts"
    one, other = (load(folder)[0].state_dict() for folder in (whole, cut_off))
    assert all(torch.equal(one[name], other[name]) for name in one)


def full(folder: Path, *_: object) -> None:
    """Write a file on a full disk, as Python does."""
    raise OSError(errno.ENOSPC, "No space left on device", str(folder))


def full_of_tensors(*_: object) -> None:
    """Write weights on a full disk, as safetensors does."""
    from safetensors import SafetensorError

    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_soup_is_the_mean_of_networks_that_began_alike(
    tiny: Path, recipe: Config, data: Path, tmp_path: Path
) -> None:
    from model.training.network import load
    from model.training.pipeline import make_bundle

    several = msgspec.structs.replace(recipe, soup=2)
    made = make_bundle(several, data, tmp_path / "work", tmp_path / "bundle", lambda line: None)

    one, other, mean = (load(tmp_path / "work" / name)[0].heads["topic"] for name in ("member-0", "member-1", "."))
    assert (one.weight != other.weight).any()
    assert mean.weight.tolist() == ((one.weight + other.weight) / 2).tolist()
    assert made.metrics["int8"]["news"]["topic"]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("place", "fault"),
    [("model.training.pipeline.write_manifest", full), ("model.training.finetune.Network.save", full_of_tensors)],
)
def test_a_disk_that_fills_leaves_no_bundle_and_says_how_to_go_on(
    tiny: Path,
    recipe: Config,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    fault: Callable[..., None],
) -> None:
    from model.training.pipeline import make_bundle

    monkeypatch.setattr(place, fault)
    with pytest.raises(BundleError, match=r"cannot be written \(.*No space left .*the same command goes on after"):
        make_bundle(recipe, data, tiny.with_name("work"), tmp_path / "full", lambda line: None)
    assert not list(tmp_path.iterdir())


def test_the_manifest_is_readable_json(tiny: Path) -> None:
    manifest = json.loads((tiny / "manifest.json").read_text())

    assert manifest["schema"] == 1
    assert set(manifest["files"]) == {
        "model.int8.onnx",
        "model.fp16.onnx",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
