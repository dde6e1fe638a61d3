"""Encoders: out of jars (converted, compared with the original, kept), and of the whole BERT family."""

from pathlib import Path

import msgspec
import pytest

from bus.errors import BundleError, ConfigError
from model.classifier import Classifier
from model.training.config import Config

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporter, about its age


@pytest.fixture
def jar(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ONNX file of the tiny encoder as exporters write it, in place of what Maven would fetch as e5-small-v2."""
    import torch
    from transformers import AutoModel

    from model.training import encoders

    network = AutoModel.from_pretrained(encoder, attn_implementation="eager").eval()
    network.pooler = None
    with torch.no_grad():
        for weights in network.parameters():  # fresh ones are all 0 or all 1, and the exporter writes equal ones once
            weights.add_(0.1 * torch.randn_like(weights))
    network.save_pretrained(tmp_path / "original")
    file = tmp_path / "model.onnx"

    class Vectors(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            vectors: torch.Tensor = network(input_ids, attention_mask).last_hidden_state
            return vectors

    ids = torch.ones((1, 6), dtype=torch.int64)
    module = Vectors()
    module.embeddings, module.encoder = network.embeddings, network.encoder  # the names that the weights keep
    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "texts", 1: "tokens"} for name in names}
    torch.onnx.export(module, (ids, ids), str(file), input_names=names, dynamic_axes=axes, dynamo=False)
    monkeypatch.setattr(encoders, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(encoders, "_unpacked", lambda name, jar, scratch: (file, encoder / "tokenizer.json"))
    monkeypatch.setitem(encoders.JARS, "e5-small-v2", encoders.Jar("tiny", "1", heads=4))
    return file


def test_an_encoder_from_a_jar_gives_the_vectors_of_the_original(jar: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from model.training.encoders import encoder_folder

    folder = encoder_folder("e5-small-v2")
    made, original = (AutoModel.from_pretrained(name).eval() for name in (folder, jar.with_name("original")))
    batch = AutoTokenizer.from_pretrained(folder)(["oil falls today", "euro"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        found, wanted = made(**batch).last_hidden_state, original(**batch).last_hidden_state
    assert torch.allclose(found, wanted, atol=1e-4)
    jar.unlink()
    assert encoder_folder("e5-small-v2") == folder, "it is converted once"


def test_an_encoder_that_does_not_convert_is_refused_and_not_kept(
    jar: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from model.training import encoders

    monkeypatch.setitem(encoders.JARS, "e5-small-v2", encoders.Jar("tiny", "1", heads=2))
    with pytest.raises(ConfigError, match=r"e5-small-v2: converted, it differs from the original by"):
        encoders.encoder_folder("e5-small-v2")
    assert not (tmp_path / "cache" / "e5-small-v2").exists()


def test_without_maven_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, training: None) -> None:
    from model.training import encoders

    monkeypatch.setattr(encoders, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="comes from Maven Central, and mvn is not installed"):
        encoders.encoder_folder("bge-small-en-v1.5")


def test_other_names_are_left_to_transformers() -> None:
    from model.training.encoders import encoder_folder

    assert encoder_folder("some/hub-name") == "some/hub-name"


FAMILY = {
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "electra": {"embedding_size": 16},
    "roberta": {"max_position_embeddings": 130, "type_vocab_size": 1, "pad_token_id": 0},
    "albert": {"embedding_size": 32},
}


def of_family(name: str, encoder: Path, folder: Path) -> Path:
    """A random encoder of two layers, with the tiny one's tokenizer."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    own = FAMILY[name]
    config = AutoConfig.for_model(name, vocab_size=len(tokenizer), **({} if "dim" in own else sizes) | own)
    AutoModel.from_config(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder


@pytest.mark.parametrize("name", ["distilbert", "electra", "roberta"])
def test_encoders_of_the_family_are_trained_exported_and_served(
    name: str, encoder: Path, recipe: Config, data: Path, tmp_path: Path
) -> None:
    from model.training.pipeline import make_bundle

    one = msgspec.structs.replace(recipe, encoder=str(of_family(name, encoder, tmp_path / name)))
    made = make_bundle(one, data, tmp_path / "work", tmp_path / "bundle", lambda line: None)

    assert made.metrics["int8"]["news"]["topic"]["accuracy"] > 0.9
    (verdict,) = Classifier.load(tmp_path / "bundle", threads=1).classify(["oil slumps sharply today"])
    assert verdict.topic.label == "Energy | Oil"


def test_an_encoder_that_cannot_be_exported_is_refused_before_it_is_trained(
    encoder: Path, recipe: Config, data: Path, tmp_path: Path
) -> None:
    from model.training.pipeline import make_bundle

    one = msgspec.structs.replace(recipe, encoder=str(of_family("albert", encoder, tmp_path / "albert")))
    lines: list[str] = []
    with pytest.raises(BundleError, match=r"fused .*not a graph of BERT, RoBERTa, ELECTRA or DistilBERT"):
        make_bundle(one, data, tmp_path / "work", tmp_path / "bundle", lines.append)
    assert not any("step" in line for line in lines)
