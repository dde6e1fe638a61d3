"""From a fine-tuned network to the files of a bundle: ONNX, fused, checked against PyTorch, quantized."""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

from bus.errors import BundleError
from model.bundle import ONNX, TOKENIZER
from model.labels import HEADS
from model.training.network import Network
from model.training.smoothing import CALIBRATION_TEXTS, smooth

OPSET = 17
"""The newest opset of the TorchScript exporter; its graph is the one that the optimizer's fusions recognise."""
TOLERANCE = 1e-4
"""Largest difference of a logit between PyTorch and ONNX in fp32."""
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
OUTPUTS = [*HEADS, "embedding"]
TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json")


def export(
    network: Network, tokenizer: Any, folder: Path, texts: Sequence[str], max_tokens: int, fp16: bool
) -> list[str]:
    """Write the model files of a bundle into a new folder and return the names of all that scoring depends on.

    Args:
        folder: created; must not exist, so that nothing of an older version can stay in it.
        texts: for the check against PyTorch, and to see how large activations become.
        fp16: also write the file for GPUs.

    Raises:
        BundleError: the graph did not fuse, or the fp32 graph differs from PyTorch by more than :data:`TOLERANCE`.
    """
    if folder.exists():
        raise BundleError(f"{folder}: exists already; an export needs a new folder")
    folder.mkdir(parents=True)
    plain, fused, split, smoothed = (folder / f"{step}.onnx" for step in ("plain", "fused", "split", "smoothed"))
    to_onnx(network, plain)
    fuse(network, plain, fused)
    unfuse_for_cpu(fused, split)
    smooth(split, smoothed, list(_batches(tokenizer, texts[:CALIBRATION_TEXTS], max_tokens)))
    check_parity(network, tokenizer, smoothed, texts, max_tokens)
    quantize(smoothed, folder / ONNX["cpu"])
    if fp16:
        halve(fused, folder / ONNX["cuda"])
    network.encoder.config.save_pretrained(folder)  # type: ignore[operator, union-attr]
    tokenizer.save_pretrained(folder)
    kept = [ONNX["cpu"], *([ONNX["cuda"]] if fp16 else []), "config.json", *TOKENIZER_FILES]
    for file in folder.iterdir():
        if file.name not in kept:
            file.unlink()
    return kept


def check_exportable(network: Network) -> None:
    """Find out before hours of training whether what they make can be exported.

    Raises:
        BundleError: the graph does not fuse.
    """
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain.onnx"
        to_onnx(network, plain)
        fuse(network, plain, plain.with_name("fused.onnx"))


def to_onnx(network: Network, file: Path) -> None:
    """Trace the network into an ONNX file with free batch size and length."""
    ids = torch.ones((2, 8), dtype=torch.int64)
    names = {0: "texts", 1: "tokens"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's age; what it wrote is checked by fuse and check_parity
        torch.onnx.export(
            network.eval(),
            (ids, torch.ones_like(ids), torch.zeros_like(ids)),
            str(file),
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_axes={**dict.fromkeys(INPUTS, names), **{name: {0: "texts"} for name in OUTPUTS}},
            opset_version=OPSET,
            dynamo=False,
        )


def fuse(network: Network, plain: Path, fused: Path) -> None:
    """Fuse attention, layer normalisation and embeddings; a graph that did not fuse would be half as fast.

    Raises:
        BundleError: the counts of fused operators are not those of the network's layers.
    """
    config: Any = network.encoder.config
    model = optimizer.optimize_model(
        str(plain),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=FusionOptions("bert"),
    )
    model.save_model_to_file(str(fused))
    layers = config.num_hidden_layers
    expected = {"Attention": layers, "SkipLayerNormalization": 2 * layers}
    if config.model_type == "bert":  # RoBERTa counts its positions in another way: one small operator stays as it is
        expected["EmbedLayerNormalization"] = 1
    counts = model.get_fused_operator_statistics()
    found = {name: counts.get(name, 0) for name in expected}
    if found != expected:
        raise BundleError(
            f"{plain}: fused {found}, expected {expected}: not a graph of BERT, RoBERTa, ELECTRA or DistilBERT, or "
            "torch or transformers changed it"
        )


def unfuse_for_cpu(fused: Path, split: Path) -> None:
    """Write two fused operators as their parts, which ONNX Runtime 1.32 computes quicker on a CPU.

    SkipLayerNormalization is scalar there while LayerNormalization is vectorised: 1.27 against 0.29 ms for 32 x 48 x
    384 on two cores, a quarter of a whole int8 MiniLM-L6. BiasGelu's addition costs nothing inside the matrix product
    before it: 4 %. The classifier keeps both from being fused again at load.
    """
    model = onnx.load(fused)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        parts = {"SkipLayerNormalization": _normalisation_parts, "BiasGelu": _gelu_parts}.get(node.op_type)
        nodes += parts(node) if parts else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, split)


def _normalisation_parts(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    first, skip, gamma, beta, *bias = node.input
    output = node.output[0]
    parts = []
    if bias and bias[0]:
        parts.append(onnx.helper.make_node("Add", [first, bias[0]], [f"{output}_biased"]))
        first = f"{output}_biased"
    parts.append(onnx.helper.make_node("Add", [first, skip], [f"{output}_sum"]))
    epsilon = next(each.f for each in node.attribute if each.name == "epsilon")
    inputs = [f"{output}_sum", gamma, beta]
    parts.append(onnx.helper.make_node("LayerNormalization", inputs, [output], axis=-1, epsilon=epsilon))
    return parts


def _gelu_parts(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    biased = f"{node.output[0]}_biased"
    return [
        onnx.helper.make_node("Add", list(node.input), [biased]),
        onnx.helper.make_node("Gelu", [biased], list(node.output), domain="com.microsoft"),
    ]


def check_parity(network: Network, tokenizer: Any, file: Path, texts: Sequence[str], max_tokens: int) -> float:
    """The largest difference between the network's outputs and the ONNX file's.

    Raises:
        BundleError: it is larger than :data:`TOLERANCE`.
    """
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    taken = [each.name for each in session.get_inputs()]
    largest = 0.0
    for inputs in _batches(tokenizer, texts, max_tokens):
        with torch.inference_mode():
            wanted = network(*(torch.from_numpy(inputs[name]) for name in INPUTS))
        got = session.run(OUTPUTS, {name: inputs[name] for name in taken})
        differences = [np.abs(a.numpy() - b).max() for a, b in zip(wanted, got, strict=True)]
        largest = max(largest, float(max(differences)))
    if not largest <= TOLERANCE:
        raise BundleError(f"{file}: outputs differ from PyTorch's by {largest:.2g}, expected at most {TOLERANCE:g}")
    return largest


def _batches(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> Iterator[dict[str, NDArray[np.int64]]]:
    """Texts as inputs of the model, 32 at a time."""
    for start in range(0, len(texts), 32):
        part = list(texts[start : start + 32])
        encoded = tokenizer(part, truncation=True, max_length=max_tokens, padding=True, return_tensors="np")
        ids = encoded["input_ids"]
        yield dict(zip(INPUTS, (ids, encoded["attention_mask"], np.zeros_like(ids)), strict=True))


def quantize(source: Path, file: Path) -> None:
    """Dynamic int8 for the CPU.

    Weights use 7 bits, so that processors without VNNI cannot overflow, and one scale per channel: with one per matrix
    7 bits changed a tenth of the sentiments and a sixth of the topics, with one per channel 3 % and 4 %.
    """
    quantize_dynamic(
        source,
        file,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def halve(fused: Path, file: Path) -> None:
    """fp16 for a GPU; inputs and outputs keep their types."""
    model = optimizer.optimize_model(str(fused), model_type="bert", opt_level=0, only_onnxruntime=False)
    model.convert_float_to_float16(keep_io_types=True)
    model.save_model_to_file(str(file))
