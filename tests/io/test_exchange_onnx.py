"""ONNX models: checked by onnx, run by onnxruntime, written whole or not at all."""

import errno
import os
import sys

import numpy as np
import pytest
from reference import numbers

import fastbp as fb

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
DTYPES = tuple(TOLERANCE)


def run(model, x):
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["output"], {"x": x})[0]


def network(activation, dtype, outputs=3):
    last = fb.Dense(9, outputs, activation, bias=False)
    net = fb.Sequential(fb.Dense(6, 9, activation), fb.Dropout(0.5), last, dtype=dtype, seed=1)
    net.layers[0].bias = numbers((9,), np.dtype(np.float64))
    return net


def inputs(dtype, scale, rows=40):
    return (scale * numbers((rows, 6), np.dtype(np.float64), seed=8)).astype(dtype)


def assert_close(found, expected):
    assert found.dtype == expected.dtype
    assert np.abs(found - expected).max() <= TOLERANCE[expected.dtype.name] * np.abs(expected).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", fb.activations.names)
def test_onnxruntime_computes_the_same(activation, dtype):
    net = network(activation, dtype)
    model = net.to_onnx()
    for scale in (1e-3, 1, 30, 1e4, 1e12):
        x = inputs(dtype, scale)
        assert_close(run(model, x), net.predict(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", fb.activations.names)
def test_activations_are_stable_at_either_end(activation, dtype):
    layer = fb.Dense(1, 1, activation, weight_init=np.ones((1, 1)), dtype=dtype)
    net, far = layer.owner(), 1e30 if dtype == "float32" else 1e300
    model = net.to_onnx()
    magnitudes = np.concatenate([[0], np.geomspace(1e-30, far, 121), np.linspace(0.01, 45, 900)]).astype(dtype)
    for z in (magnitudes, -magnitudes):
        found, expected = run(model, z[:, None]), net.predict(z[:, None])
        largest = np.maximum(np.abs(expected), 1)  # of each element alone: nothing large to hide behind
        assert (np.abs(found - expected) <= TOLERANCE[dtype] * largest).all()


@pytest.mark.parametrize("activation", ["elu", "selu", "softplus", "tanh"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_numbers_keep_their_digits(activation, dtype):
    layer = fb.Dense(1, 1, activation, weight_init=np.ones((1, 1)), dtype=dtype)
    z = -np.geomspace(1e-20, 20, 200).astype(dtype)[:, None]
    np.testing.assert_allclose(run(layer.owner().to_onnx(), z), layer.forward(z), rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("output", "function"),
    [
        (
            "softmax",
            lambda z: np.exp(z - z.max(1, keepdims=True)) / np.exp(z - z.max(1, keepdims=True)).sum(1)[:, None],
        ),
        ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        ("exp", np.exp),
    ],
)
def test_a_function_at_the_end(output, function, dtype):
    net = network("tanh", dtype)
    x = inputs(dtype, 1)
    assert_close(run(net.to_onnx(output=output), x), function(net.predict(x)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_model_says_what_it_is(dtype):
    model = network("mish", dtype).to_onnx()
    assert (model.producer_name, model.producer_version) == ("fastbp", fb.__version__)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert "Dropout" not in {node.op_type for node in model.graph.node}
    parameters = {tensor.name for tensor in model.graph.initializer}
    assert {"0.weight", "0.bias", "3.weight"} <= parameters
    for value, columns in ((model.graph.input[0], 6), (model.graph.output[0], 3)):
        batch, width = value.type.tensor_type.shape.dim
        assert (batch.dim_param, width.dim_value) == ("batch", columns)
        assert value.type.tensor_type.elem_type == getattr(onnx.TensorProto, {"float32": "FLOAT"}.get(dtype, "DOUBLE"))


def test_single_operators_where_the_opset_has_them():
    found = {f: [node.op_type for node in network(f, "float32").to_onnx().graph.node] for f in ("relu", "leaky_relu")}
    assert found == {"relu": ["Gemm", "Relu"] * 2, "leaky_relu": ["Gemm", "LeakyRelu"] * 2}


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_any_number_of_rows(rows):
    net = network("relu", "float32", outputs=1)
    x = inputs("float32", 1, rows)
    assert_close(run(net.to_onnx(), x), net.predict(x))


def test_a_file_holds_the_model(tmp_path):
    net = network("gelu", "float32")
    model = net.to_onnx(tmp_path / "net.onnx")
    net.to_onnx(str(tmp_path / "again.onnx"))
    assert onnx.load(tmp_path / "net.onnx") == model
    assert (tmp_path / "net.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "net.onnx"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        network("relu", "float32").to_onnx(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["net.onnx"]


def test_what_is_code_of_the_users_is_refused(tmp_path):
    from test_activations import bent, bent_derivative

    path = tmp_path / "net.onnx"
    with pytest.raises(ValueError, match=r"to_onnx: got Dense.*bent.*, expected activations that a file can name"):
        fb.Sequential(fb.Dense(2, 2, fb.activations.custom(bent, bent_derivative))).to_onnx(path)
    with pytest.raises(ValueError, match=r"to_onnx: got Custom.*, expected layers that a file can name"):
        fb.Sequential(fb.Dense(2, 2), fb.Custom(2, 2, bent, bent)).to_onnx(path)
    with pytest.raises(ValueError, match=r"output: got 'argmax', expected None or one of softmax, sigmoid, exp"):
        network("relu", "float32").to_onnx(path, output="argmax")
    assert not path.exists()


def test_without_onnx_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"to_onnx needs onnx: pip install 'fastbp\[onnx\]'"):
        network("relu", "float32").to_onnx()
