"""The costs against their definitions, central differences and each other."""

import inspect

import numba
import numpy as np
import pytest
import reference_losses as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba import njit

from fastbp import kernels
from fastbp.compiler.arrays import kind_of
from fastbp.kernels.loss_arguments import LossArguments
from fastbp.kernels.loss_formulas import COSTS, cost

DTYPES = ["float32", "float64"]
SHAPES = [(1, 1), (3, 2), (33, 10), (2, 16), (5, 17), (7, 100)]
PARAMETERS = {"softmax_cross_entropy": 0.1, "huber": 0.7, "quantile": 0.8}
OF_CLASSES = ("softmax_cross_entropy", "negative_log_likelihood")


def case(name, shape, dtype, seed=0):
    """(z, y, weights): outputs and targets fit for the cost."""
    rng = np.random.default_rng(seed)
    z, y = 2 * rng.normal(size=shape), rng.random(shape)
    if name in OF_CLASSES:
        y = reference.softmax(5 * y)
    if name == "negative_log_likelihood":
        z = reference.softmax(z)
    return z.astype(dtype), y.astype(dtype), (0.1 + rng.random(shape[0])).astype(dtype)


def run(name, z, y, out=None, weights=None, parameter=None, serial=False):
    kernel = getattr(kernels.serial if serial else kernels, name)
    return kernel(z, y, out, weights, *([] if parameter is None else [parameter]))


def close(got, expected, dtype, factor=8):
    """Equal but for a few roundings of the largest value."""
    tolerance = factor * np.finfo(dtype).eps
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * np.max(abs(expected), initial=0))


def same(first, second):
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1], strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COSTS)
def test_definition(name, dtype):
    parameter = [PARAMETERS[name]] if name in PARAMETERS else []
    for shape in SHAPES:
        z, y, weights = case(name, shape, dtype)
        weights = weights if dtype == "float64" else None
        value, delta = run(name, z, y, None, weights, *parameter)
        expected = getattr(reference, name)(z.astype(float), y.astype(float), weights, *parameter)
        assert isinstance(value, float)
        assert delta.dtype == dtype
        close(value, expected[0], dtype, 16)
        close(delta, expected[1], dtype)


@pytest.mark.parametrize("name", OF_CLASSES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_labels(name, dtype):
    for shape in SHAPES:
        z, _, weights = case(name, shape, dtype)
        y = np.random.default_rng(1).integers(0, shape[1], shape[0])
        got = run(name, z, y, None, weights)
        expected = getattr(reference, name)(z.astype(float), y, weights)
        close(got[0], expected[0], dtype, 16)
        close(got[1], expected[1], dtype)
        same(got, run(name, z, np.eye(shape[1], dtype=dtype)[y], None, weights))


@pytest.mark.parametrize("kind", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_label_dtypes(kind, call_code):
    """The body, since a kernel is compiled for each: the labels of any dtype and stride, and the first wrong one."""
    z, _, _ = case("softmax_cross_entropy", (40, 150), "float32")
    y, delta = np.random.default_rng(1).integers(0, 2 if kind == "bool" else 128, 40), np.empty_like(z)
    expected = run("softmax_cross_entropy", z, y)
    labels = np.repeat(y.astype(kind), 3)[::3]
    targets = (labels.ctypes.data, kind_of(numba.typeof(labels)), labels.strides[0])
    addresses = (z.ctypes.data, z.strides[0], *targets, 0, delta.ctypes.data, delta.strides[0])
    block = np.array([*addresses, *z.shape, 0, np.float64(1).view(np.int64), 0, 0], np.int64)  # a scale of 1
    code = cost.of("float32", "softmax_cross_entropy")
    assert call_code(code, block.ctypes.data) == 0
    same((block.view(np.float64)[-2] / 40, delta), expected)
    block[9] = columns = 1 if kind == "bool" else 100
    assert call_code(code, block.ctypes.data) == 1 + np.argmax(y >= columns)


@pytest.mark.parametrize("name", COSTS)
def test_central_differences(name):
    z, y, weights = case(name, (3, 4), "float64")
    parameter = [PARAMETERS[name]] if name in PARAMETERS else []
    _, delta = run(name, z, y, None, weights, *parameter)
    h, measured = 1e-6, np.empty_like(z)
    for k in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[k] = h
        above, below = (run(name, x, y, None, weights, *parameter)[0] for x in (z + step, z - step))
        measured[k] = (above - below) / (2 * h)
    np.testing.assert_allclose(delta, measured, rtol=1e-7, atol=1e-8)


def lane_sum(x):
    """The row sums of x in the kernels' order: a partial sum a lane, then a tree."""
    lanes = 64 // x.itemsize
    padded = np.pad(x, [(0, 0), (0, -x.shape[1] % lanes)]).reshape(len(x), -1, lanes)
    sums = np.zeros((len(x), lanes), x.dtype)
    for j in range(padded.shape[1]):
        sums = sums + padded[:, j]
    while sums.shape[1] > 1:
        sums = sums[:, : sums.shape[1] // 2] + sums[:, sums.shape[1] // 2 :]
    return sums[:, 0].astype(float)


@pytest.mark.parametrize("dtype", DTYPES)
def test_squared_error_to_the_bit(dtype):
    for shape in SHAPES:
        z, y, weights = case("mean_squared_error", shape, dtype)
        value, delta = run("mean_squared_error", z, y, None, weights)
        unit, total = 1 / (sum(weights.astype(float)) * shape[1]), 0.0
        for w, c in zip(weights.astype(float), lane_sum((z - y) ** 2), strict=True):
            total += w * c
        assert value == total / shape[1] / sum(weights.astype(float))
        scale = (weights.astype(float) * unit).astype(dtype)
        np.testing.assert_array_equal(delta, scale[:, None] * (2 * (z - y)))


def layouts(x):
    """x in other strides."""
    yield np.asfortranarray(x)
    buffer = np.zeros((2 * x.shape[0], 3 * x.shape[1] + 2), x.dtype)
    buffer[::-2, 1:-1:3] = x
    yield buffer[::-2, 1:-1:3]


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "mean_squared_error"])
def test_strides(name, framed):
    z, y, weights = case(name, (6, 19), "float32")
    w = np.repeat(weights, 2)[::2]
    expected = run(name, z, y, None, weights)
    outs = framed((6, 19), "float32"), framed((19, 6), "float32").T
    for x, t, out in zip(layouts(z), layouts(y), outs, strict=True):
        got = run(name, x, t, out, w)
        assert got[1] is out
        same(got, expected)
        np.testing.assert_array_equal(x, z)
        np.testing.assert_array_equal(t, y)
        same(run(name, x, t, x, w), expected)  # in place
        np.testing.assert_array_equal(x, expected[1])


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "negative_log_likelihood", "huber"])
def test_in_place_and_serial(name):
    z, y, _ = case(name, (9, 21), "float32")
    parameter = PARAMETERS.get(name)
    expected = run(name, z, y, parameter=parameter)
    same(run(name, z, y, parameter=parameter, serial=True), expected)
    got = run(name, z, y, z, parameter=parameter)
    assert got[1] is z
    same(got, expected)


@pytest.mark.parametrize("name", COSTS)
def test_no_samples(name):
    z, y, weights = case(name, (5, 3), "float64")
    parameter = PARAMETERS.get(name)
    value, delta = run(name, z[:0], y[:0], None, weights[:0], parameter)
    assert (value, delta.shape) == (0.0, (0, 3))
    value, delta = run(name, z, y, None, 0 * weights, parameter)
    assert value == 0
    assert not delta.any()


def test_from_compiled_code():
    z, _, weights = case("softmax_cross_entropy", (8, 5), "float64")
    y = np.arange(8, dtype=np.int32) % 5

    @njit
    def caller(z, y, weights, out):
        first, _ = kernels.softmax_cross_entropy(z, y, sample_weight=weights, out=out)
        second, _ = kernels.serial.softmax_cross_entropy(z, y, None, weights, 0.0)
        return first, second

    out = np.full_like(z, np.nan)
    expected = run("softmax_cross_entropy", z, y, None, weights)
    assert caller(z, y, weights, out) == (expected[0], expected[0])
    np.testing.assert_array_equal(out, expected[1])


def test_defaults():
    assert inspect.signature(kernels.huber.py_func).parameters["delta"].default == 1.0
    z, y, _ = case("huber", (4, 3), "float64")
    same(kernels.huber(z, y), run("huber", z, y, parameter=1.0))
    same(kernels.quantile(z, y), run("quantile", z, y, parameter=0.5))
    same(kernels.softmax_cross_entropy(z, y), run("softmax_cross_entropy", z, y, parameter=0.0))


# ------------------------------------------------------------------------------------------------------------- refusals

Z, Y, LABELS = np.zeros((4, 3), "f4"), np.zeros((4, 3), "f4"), np.zeros(4, "i8")
BEYOND = np.array([0, 2, 3, -1])
REFUSED = {
    "rows of y": ("mean_squared_error", (Z, Y[:2]), ValueError, "y: got 2 rows, expected 4, as in z"),
    "columns of y": ("huber", (Z, Y[:, :2]), ValueError, "y: got 2 columns, expected 3, as in z"),
    "dtype of y": ("poisson", (Z, Y.astype("f8")), TypeError, "y: got dtype float64, expected float32, that of z"),
    "integers": ("mean_squared_error", (Z, LABELS), TypeError, "y: got dtype int64, expected float32 or float64"),
    "a vector": ("mean_squared_error", (Z, Y[:, 0]), ValueError, "y: got 1 dimensions, expected 2"),
    "float labels": ("softmax_cross_entropy", (Z, Y[:, 0]), ValueError, "expected 1 of integers (labels) or 2 of"),
    "label matrix": ("softmax_cross_entropy", (Z, LABELS[:, None]), ValueError, "y: got 2 dimensions of dtype int64"),
    "label": ("softmax_cross_entropy", (Z, BEYOND), ValueError, "y: got label 3 in row 2, expected 0 to 2"),
    "negative label": ("negative_log_likelihood", (Z, LABELS - 1), ValueError, "y: got label -1 in row 0"),
    "few labels": ("softmax_cross_entropy", (Z, LABELS[:3]), ValueError, "y: got 3 rows, expected 4, as in z"),
    "of p": ("negative_log_likelihood", (Z, LABELS[:3]), ValueError, "y: got 3 rows, expected 4, as in p"),
    "z of integers": ("quantile", (LABELS[:, None], Y), TypeError, "z: got dtype int64, expected float32 or float64"),
    "z a vector": ("quantile", (Z[0], Y), ValueError, "z: got 1 dimensions, expected 2"),
    "no array": ("quantile", (None, Y), TypeError, "z: got no NumPy array"),
    "weights": ("huber", (Z, Y, None, Z[0]), ValueError, "sample_weight: got 3 rows, expected 4, as in z"),
    "their dtype": ("huber", (Z, Y, None, LABELS), TypeError, "sample_weight: got dtype int64"),
    "out": ("huber", (Z, Y, np.zeros((4, 2), "f4")), ValueError, "out: got 2 columns, expected 3, as in z"),
    "out is y": ("huber", (Z, Y, Y), ValueError, "out: shares memory with y"),
    "overlap": ("huber", (Z[:3], Y[:3], Z[1:]), ValueError, "out: shares memory with z"),
    "smoothing": ("softmax_cross_entropy", (Z, Y, None, None, 1.5), ValueError, "label_smoothing: got 1.5, expected"),
    "quantile": ("quantile", (Z, Y, None, None, -0.5), ValueError, "quantile: got -0.5, expected a number from 0 to 1"),
    "delta": ("huber", (Z, Y, None, None, np.nan), ValueError, "delta: got nan, expected a number of at least 0"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason):
    name, (z, y, *rest), error, text = REFUSED[reason]
    with pytest.raises(error) as raised:
        getattr(kernels, name)(z, y, *rest)
    assert text in str(raised.value)
    assert not Z.any()
    assert not Y.any()


def test_nothing_is_written_before_a_wrong_label():
    z, _, _ = case("softmax_cross_entropy", (4, 20), "float32")
    out = np.full((20, 4), 7, "f4").T
    with pytest.raises(ValueError, match="y: got label 20 in row 3"):
        kernels.softmax_cross_entropy(z, np.array([0, 1, 2, 20], "u1"), out)
    assert (out == 7).all()


def test_out_whose_rows_are_one():
    out = np.lib.stride_tricks.as_strided(np.zeros(3, "f4"), (4, 3), (0, 4))
    for kernel in (kernels.mean_squared_error, kernels.softmax_cross_entropy):
        with pytest.raises(ValueError, match="out: got elements that share memory with each other"):
            kernel(Z, Y, out)


def test_read_only_out():
    out = np.zeros((4, 3), "f4")
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: got a read-only array"):
        kernels.mean_squared_error(Z, Y, out)


def test_labels_that_touch_out():
    """Labels of one byte end where out begins."""
    buffer = np.zeros(4 + 48, "u1")
    y, out = buffer[:4], buffer[4:].view("f4").reshape(4, 3)
    value, _ = kernels.softmax_cross_entropy(Z, y, out)
    assert value == pytest.approx(np.log(3))
    with pytest.raises(ValueError, match="out: shares memory with y"):
        kernels.softmax_cross_entropy(Z, buffer[1:5], out)


# ------------------------------------------------------------------------------------------------------- special values


@pytest.mark.parametrize("columns", [3, 40])
def test_far_logits(columns):
    z = np.zeros((2, columns), "f4")
    z[0, 1], z[1, 2] = 3e38, -np.inf
    value, delta = run("softmax_cross_entropy", z, np.array([1, 0]))
    assert value == pytest.approx(np.log(columns - 1) / 2)
    assert not delta[0].any()
    assert run("softmax_cross_entropy", z, np.array([0, 0]))[0] == pytest.approx(1.5e38)
    assert run("softmax_cross_entropy", z, np.array([1, 2]))[0] == np.inf
    z[0, 0] = np.nan
    value, delta = run("softmax_cross_entropy", z, np.array([1, 0]))
    assert np.isnan(value)
    assert np.isnan(delta[0]).all()


def test_special_values():
    huge = np.array([[1e4, -1e4]], "f4")
    value, delta = run("binary_cross_entropy", huge, np.array([[1, 0]], "f4"))
    assert value == 0
    assert not delta.any()
    assert run("binary_cross_entropy", huge, np.array([[0, 1]], "f4"))[0] == 1e4
    for name in ("mean_absolute_error", "quantile", "huber"):
        assert not run(name, huge, huge.copy())[1].any()
        assert np.isnan(run(name, huge, np.nan * huge)[1]).all()
    p = np.array([[0, 1]], "f4")
    assert run("negative_log_likelihood", p, np.array([1]))[0] == 0
    assert run("negative_log_likelihood", p, np.array([0]))[0] == np.inf


# ----------------------------------------------------------------------------------------------------------- the bodies


def test_body_without_delta(call_code):
    z, y, weights = case("softmax_cross_entropy", (20, 30), "float32")
    addresses = (z.ctypes.data, z.strides[0], y.ctypes.data, 3, y.strides[0], weights.ctypes.data, 0, 0)
    block = np.array([*addresses, *z.shape, 0, np.float64(1).view(np.int64), 0, 0, 0], np.int64)  # a scale of 1
    assert call_code(cost.of("float32", "softmax_cross_entropy"), block.ctypes.data) == 0
    value, weight = block.view(np.float64)[-3:-1]
    assert weight == sum(weights.astype(float))
    assert value / weight == run("softmax_cross_entropy", z, y, None, weights)[0]
    assert len(block) == len(LossArguments._fields)


# -------------------------------------------------------------------------------------------------------------- softmax


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax(dtype):
    for shape in [*SHAPES, (0, 3), (600, 300)]:
        z, _, _ = case("softmax_cross_entropy", shape, dtype)
        expected = kernels.serial.softmax(z, None)
        close(expected, reference.softmax(z.astype(float)), dtype)
        for threads in (1, 2, 4):
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            np.testing.assert_array_equal(kernels.softmax(z, None), expected)
    np.testing.assert_array_equal(kernels.softmax(np.asfortranarray(z), np.empty_like(z.T).T), expected)
    assert kernels.softmax(z, z) is z
    np.testing.assert_array_equal(z, expected)


def test_softmax_refuses():
    with pytest.raises(ValueError, match="z: got 1 dimensions"):
        kernels.softmax(Z[0])
    with pytest.raises(TypeError, match="out: got dtype float64, expected float32"):
        kernels.softmax(Z, np.zeros((4, 3)))


@settings(max_examples=50)
@given(arrays("f4", (3, 18), elements=st.floats(-1e4, 1e4, width=32)), st.integers(0, 17))
def test_probabilities(z, label):
    """The derivative's rows sum to 0, as probabilities to 1; the cost is not negative."""
    value, delta = run("softmax_cross_entropy", z, np.full(3, label))
    p = kernels.softmax(z, None)
    assert value >= 0
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(axis=1, dtype=float), 1, rtol=1e-6)
    np.testing.assert_allclose(delta.sum(axis=1, dtype=float), 0, atol=1e-6)
