"""Activations made easy to quantize: the same outputs, with the large channels in the weights."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.training.smoothing import factors_of, smooth

LARGE = arrays(np.float32, 8, elements=st.floats(0, 1e3, width=32))


@given(LARGE, LARGE)
def test_factors_keep_the_scale_of_the_whole(activations: np.ndarray, weights: np.ndarray) -> None:
    factors = factors_of(activations, weights)
    assert (factors > 0).all()
    assert np.log(factors).mean() == pytest.approx(0, abs=1e-4)


@given(st.permutations(range(8)))
def test_louder_channels_are_turned_down_more(order: list[int]) -> None:
    activations = np.array([0.1, 0.2, 0.5, 1, 2, 5, 20, 100], np.float32)[order]
    factors = factors_of(activations, np.ones(8, np.float32))
    assert (np.argsort(factors) == np.argsort(activations)).all()


def network(folder: Path) -> Path:
    """A feed-forward layer with one loud channel, and an attention output that must stay as it is."""
    rng = np.random.default_rng(1)
    up, down, out = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 6), (6, 4), (4, 4)))
    up[:, 2] *= 100
    down[2] /= 100
    names = [
        "/layer.0/intermediate/dense/MatMul",
        "/layer.0/output/dense/MatMul",
        "/layer.0/attention/output/dense/MatMul",
    ]
    flow = [("x", "up", "h"), ("h", "down", "d"), ("d", "out", "y")]
    nodes = [onnx.helper.make_node("MatMul", [a, w], [b], name=n) for n, (a, w, b) in zip(names, flow, strict=True)]
    stored = [onnx.numpy_helper.from_array(w, n) for n, w in (("up", up), ("down", down), ("out", out))]
    value = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["texts", 4]) for n in ("x", "y")]
    graph = onnx.helper.make_graph(nodes, "g", value[:1], value[1:], stored)
    file = folder / "network.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), file)
    return file


def test_outputs_stay_and_no_channel_stands_out(tmp_path: Path) -> None:
    source = network(tmp_path)
    inputs = {"x": np.random.default_rng(2).normal(size=(50, 4)).astype(np.float32)}
    smooth(source, tmp_path / "smoothed.onnx", [inputs])  # type: ignore[list-item]

    plain, smoothed = (outputs(file, inputs) for file in (source, tmp_path / "smoothed.onnx"))
    np.testing.assert_allclose(plain["y"], smoothed["y"], rtol=1e-3, atol=1e-3)
    before, after = (
        np.abs(each).max(0) for each in (plain["h"], smoothed["/layer.0/output/dense/MatMul_smoothing_product"])
    )
    assert before.max() / np.median(before) > 30
    assert after.max() / np.median(after) < 10


def outputs(file: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All values that a model computes."""
    model = onnx.load(file)
    names = [name for node in model.graph.node for name in node.output]
    kept = {each.name for each in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in kept
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, inputs), strict=True))
