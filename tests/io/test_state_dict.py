"""PyTorch's state_dict: names, order, dtypes and refusals; all but .pt files without PyTorch."""

import itertools
import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import numbers

import fastbp as fb
from fastbp.io import safetensors
from fastbp.io.tensors import as_float_array

X = numbers((9, 4), np.dtype(np.float64))


def network(dtype="float32", activation="relu"):
    dense = [fb.Dense(4, 5, activation), fb.Dense(5, 6, bias=False), fb.Dense(6, 2, activation)]
    return fb.Sequential(dense[0], fb.Dropout(0.5), *dense[1:], dtype=dtype, seed=3)


def tensors(*sizes, names=None, dtype=np.float32):
    """A state_dict of dense layers of these sizes, in order, all numbers different."""
    names = names or [str(2 * i) for i in range(len(sizes) - 1)]
    found = {}
    for i, (n, m) in enumerate(itertools.pairwise(sizes)):
        found[f"{names[i]}.weight"] = numbers((m, n), np.dtype(dtype), seed=i + 1)
        found[f"{names[i]}.bias"] = numbers((m,), np.dtype(dtype), seed=i + 100)
    return found


# --------------------------------------------------------------------------------------------------------------- giving


def test_names_are_those_of_a_torch_sequential():
    found = network().state_dict()  # Linear, ReLU, Dropout, Linear, Linear, ReLU
    assert list(found) == ["0.weight", "0.bias", "3.weight", "4.weight", "4.bias"]
    assert list(network(activation="identity").state_dict("net."))[2] == "net.2.weight"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_are_copies_in_c_order(dtype):
    net = network(dtype)
    for name, array in net.state_dict().items():
        assert array.flags.c_contiguous, name
        assert array.dtype == dtype
        array[...] = 0
    np.testing.assert_array_equal(net.state_dict()["0.weight"], net.layers[0].weight)
    assert net.layers[0].weight.all()


def test_layers_of_the_users_are_refused_but_not_activations():
    from test_activations import bent, bent_derivative

    custom = fb.Custom(2, 2, bent, bent)
    with pytest.raises(ValueError, match=r"state_dict: got Custom.*, expected layers that a file can name"):
        fb.Sequential(fb.Dense(2, 2), custom).state_dict()
    net = fb.Sequential(fb.Dense(2, 2, fb.activations.custom(bent, bent_derivative)), fb.Dense(2, 1))
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


# --------------------------------------------------------------------------------------------------------------- taking


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_and_back_keeps_every_bit(dtype):
    net = network(dtype)
    back = fb.Sequential.from_state_dict(net.state_dict(), ["relu", "identity", "relu"])
    assert back.dtype == dtype
    assert back.parameters.tobytes() == net.parameters.tobytes()
    assert back.predict(X).tobytes() == net.predict(X).tobytes()


@given(st.permutations(range(12)))
def test_numbered_modules_come_in_the_order_of_their_numbers(order):
    given = tensors(*[3] * 13, names=[f"net.{i}" for i in range(12)])
    shuffled = {name: given[name] for i in order for name in (f"net.{i}.bias", f"net.{i}.weight")}
    net = fb.Sequential.from_state_dict(shuffled)
    expected = fb.Sequential.from_state_dict(given, prefix="net.")
    assert net.parameters.tobytes() == expected.parameters.tobytes()


def test_other_names_come_as_the_mapping_has_them_or_as_asked():
    given = tensors(4, 4, 4, names=["stem", "head"])
    net = fb.Sequential.from_state_dict(given)
    np.testing.assert_array_equal(net.layers[0].weight, given["stem.weight"])
    turned = fb.Sequential.from_state_dict(given, modules=["head", "stem"])
    np.testing.assert_array_equal(turned.layers[0].weight, given["head.weight"])
    alone = fb.Sequential.from_state_dict({"weight": X, "bias": X[:, 0]})  # of a Linear
    assert (alone.inputs, alone.outputs) == (4, 9)


def test_a_prefix_or_modules_choose_among_others():
    given = {"conv.weight": np.ones((1, 1, 3, 3)), "count": np.int64(3), **tensors(4, 2, names=["policy.0"])}
    for chosen in ({"prefix": "policy."}, {"modules": ["policy.0"]}, {"prefix": "policy.", "modules": ["0"]}):
        assert fb.Sequential.from_state_dict(given, **chosen).outputs == 2


def test_activations_are_one_for_the_hidden_layers_or_a_list():
    given = tensors(4, 5, 5, 2)
    hidden = [layer.activation for layer in fb.Sequential.from_state_dict(given, "tanh").layers]
    assert hidden == ["tanh", "tanh", "identity"]
    each = fb.Sequential.from_state_dict(given, ["elu", "relu", "sigmoid"], seed=5)
    assert [layer.activation for layer in each.layers] == ["elu", "relu", "sigmoid"]
    assert each.seed == 5


class Owner:
    """A tensor of another library: NumPy gets at it by one protocol alone."""

    def __init__(self, array, protocol):
        self.array = array
        setattr(type(self), protocol, lambda self, *args, **kwargs: getattr(self.array, protocol)(*args, **kwargs))
        if protocol == "__dlpack__":
            type(self).__dlpack_device__ = lambda self: self.array.__dlpack_device__()


@pytest.mark.parametrize("protocol", ["__array__", "__dlpack__"])
def test_tensors_of_any_library(protocol):
    kind = type("Tensor", (Owner,), {})
    given = tensors(4, 2)
    net = fb.Sequential.from_state_dict({name: kind(array, protocol) for name, array in given.items()})
    np.testing.assert_array_equal(net.layers[0].weight, given["0.weight"])


@pytest.mark.parametrize(
    ("stored", "read"), [("f2", "f4"), (">f4", "f4"), ("f4", "f4"), ("f8", "f8"), (">f8", "f8"), ("g", "f8")]
)
def test_every_number_is_kept_whatever_the_floats(stored, read):
    array = as_float_array("x", np.array([1, 2**-24, -0.5], stored))
    assert array.dtype == np.dtype(read)
    assert array.tolist() == [1, 2**-24, -0.5]


def test_float64_parameters_make_a_float64_network_unless_told_otherwise():
    given = tensors(4, 3, 2)
    given["2.bias"] = given["2.bias"].astype(np.float64)
    assert fb.Sequential.from_state_dict(given).dtype == np.float64
    assert fb.Sequential.from_state_dict(given, dtype="float32").dtype == np.float32


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"1.running_mean": X[0]}, ValueError, r"1.running_mean: got a ndarray, expected only weight and bias"),
        ({"epoch": 3}, ValueError, r"epoch: got a int, expected only weight and bias"),
        ({"0.weight": X[None]}, ValueError, r"0.weight: got shape \(1, 9, 4\), expected \(outputs, inputs\)"),
        ({"2.weight": X[0]}, ValueError, r"2.weight: got shape \(4,\), expected \(outputs, inputs\)"),
        ({"0.bias": X[0]}, ValueError, r"0.bias: got shape \(4,\), expected \(5,\)"),
        ({"2.weight": X}, ValueError, r"2.weight: got shape \(9, 4\), expected 5 inputs, the outputs of 0"),
        ({"1.bias": X[0]}, ValueError, r"1.weight: got none, expected one among 0.weight"),
        ({"0.bias": np.full(5, np.nan)}, ValueError, r"0.bias: got a number that is not finite in float64"),
        ({"0.bias": np.arange(5)}, TypeError, r"0.bias: got a ndarray of int64, expected an array of floats"),
        ({"0.bias": np.ones(5, complex)}, TypeError, r"0.bias: got a ndarray of complex128"),
        ({"0.bias": None}, TypeError, r"0.bias: got a NoneType of object"),
        ({"0.bias": [[1.0], [1.0, 2.0]]}, TypeError, r"0.bias: got a list that NumPy cannot hold"),
    ],
)
def test_what_cannot_be_carried_over_is_named(change, error, message):
    with pytest.raises(error, match=message):
        fb.Sequential.from_state_dict({**tensors(4, 5, 2), **change})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tensors": [1]}, TypeError, r"tensors: got list, expected a mapping of names to tensors, or a path"),
        ({"tensors": {}}, ValueError, r"tensors: got none whose name begins with ''"),
        ({"tensors": "net.h5"}, ValueError, r"tensors: got the file net.h5, expected the ending .safetensors, .pt or"),
        ({"prefix": "a."}, ValueError, r"tensors: got none whose name begins with 'a.' among 0.weight, 0.bias"),
        ({"modules": ["0", "head"]}, ValueError, r"head.weight: got none, expected one among 0.weight"),
        ({"modules": "0"}, TypeError, r"modules: got '0', expected a list of names"),
        ({"activation": ["relu"]}, ValueError, r"activation: got 1 of them, expected 2, one for each dense layer"),
        ({"activation": "swish"}, ValueError, r"activation: got 'swish', expected one of identity"),
        ({"dtype": "float16"}, ValueError, r"dtype: got 'float16'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        fb.Sequential.from_state_dict(**{"tensors": tensors(4, 5, 2), **arguments})


def test_what_overflows_float32_is_refused():
    given = {"weight": np.array([[1e39]])}
    assert fb.Sequential.from_state_dict(given).predict(np.ones((1, 1)))[0, 0] == 1e39
    with pytest.raises(ValueError, match=r"weight: got a number that is not finite in float32"):
        fb.Sequential.from_state_dict(given, dtype="float32")


# ---------------------------------------------------------------------------------------------------------------- files


def test_a_safetensors_file_needs_no_pytorch(tmp_path, monkeypatch):
    numpy_files = pytest.importorskip("safetensors.numpy")
    monkeypatch.setitem(sys.modules, "torch", None)
    net = network()
    numpy_files.save_file(net.state_dict(), tmp_path / "net.safetensors", metadata={"format": "pt"})
    back = fb.Sequential.from_state_dict(tmp_path / "net.safetensors", ["relu", "identity", "relu"])
    assert back.parameters.tobytes() == net.parameters.tobytes()


def test_a_safetensors_file_keeps_no_order(tmp_path):
    numpy_files = pytest.importorskip("safetensors.numpy")
    path = str(tmp_path / "net.safetensors")
    numpy_files.save_file(tensors(4, 4, 4, names=["stem", "head"]), path)
    with pytest.raises(ValueError, match=r"modules: got None, expected head, stem in their order: the file has none"):
        fb.Sequential.from_state_dict(path)
    given = fb.Sequential.from_state_dict(path, modules=["stem", "head"])
    np.testing.assert_array_equal(given.layers[1].bias, tensors(4, 4, 4)["2.bias"])


def test_a_file_that_fastbp_saved_is_for_load(tmp_path):
    pytest.importorskip("safetensors")
    network().save(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"net.safetensors: got a network that fastbp saved, .* use Sequential.load"):
        fb.Sequential.from_state_dict(tmp_path / "net.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4 a zip file"])
def test_what_is_no_safetensors_file(tmp_path, content):
    pytest.importorskip("safetensors")
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"net.safetensors: truncated, or not a safetensors file"):
        fb.Sequential.from_state_dict(tmp_path / "net.safetensors")


def one_tensor(path, kind, values):
    """A safetensors file with the tensor "x", byte by byte."""
    header = json.dumps({"x": {"dtype": kind, "shape": values.shape, "data_offsets": [0, values.nbytes]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())


def test_bfloat16_is_read_to_the_bit(tmp_path):
    pytest.importorskip("safetensors")
    bits = np.arange(2**16, dtype=np.uint32)
    one_tensor(tmp_path / "x", "BF16", bits.astype("<u2"))
    found = safetensors.read_plain(tmp_path / "x")["x"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), bits << 16)


def test_types_that_numpy_has_not_are_named(tmp_path):
    pytest.importorskip("safetensors")
    one_tensor(tmp_path / "x", "F8_E5M2", np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match=r"x: got dtype F8_E5M2, expected BF16 or one of F64"):
        safetensors.read_plain(tmp_path / "x")


def test_without_pytorch_a_pt_file_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"need PyTorch: pip install 'fastbp\[torch\]'"):
        fb.Sequential.from_state_dict(tmp_path / "net.pt")
