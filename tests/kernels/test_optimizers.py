"""The optimizers' steps and the clipping against their definitions, split in any way, on any strides."""

import decimal
import hashlib
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
from fastbp.compiler.llvm import FIELD_TYPES, has_fma
from fastbp.kernels.clipping import SLICES, NormSquared, norm_squared
from fastbp.kernels.update_rules import RULES, Update, update

DTYPES = ["float32", "float64"]
SIZES = [0, 1, 15, 16, 17, 100, 1003]
# what follows the vectors in the call of each kernel; at a given step
NUMBERS = {
    "sgd": lambda step: (0.1, 0.01),
    "momentum": lambda step: (0.1, 0.8, step % 2 == 0, 0.01),
    "adam": lambda step: (step, 0.1, 0.8, 0.99, 1e-6, 0.01),
    "adamw": lambda step: (step, 0.1, 0.8, 0.99, 1e-6, 0.01),
    "rmsprop": lambda step: (0.1, 0.8, 1e-6, 0.01),
    "adagrad": lambda step: (0.1, 1e-6, 0.01),
}


def vectors(rule, size, dtype, seed=0):
    """Parameters, gradients, and what the rule keeps."""
    rng = np.random.default_rng(seed)
    kept = RULES[rule].has_m + RULES[rule].has_v
    return [rng.normal(size=size).astype(dtype) for _ in range(2)] + [np.zeros(size, dtype) for _ in range(kept)]


def take_steps(kernel, rule, given, steps=3):
    for step in range(1, steps + 1):
        kernel(*given, *NUMBERS[rule](step))
    return given


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_definition(rule, dtype):
    kernel = getattr(kernels, f"{rule}_step")
    for size in SIZES:
        start = vectors(rule, size, dtype)
        got = take_steps(kernel, rule, [x.copy() for x in start])
        expected = take_steps(getattr(reference, f"{rule}_step"), rule, [x.astype(float) for x in start])
        np.testing.assert_array_equal(got[1], start[1])
        for x, y in zip(got, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=100 * np.finfo(dtype).eps, atol=100 * np.finfo(dtype).eps)


@pytest.mark.skipif(not has_fma(), reason="rounds twice where there is no fused multiply-add")
def test_sgd_to_the_bit():
    """One fused multiply-add an element: in float64 the product of two float32 is exact."""
    p, g = vectors("sgd", 1003, "float32")
    rate = np.float64(np.float32(0.1))
    expected = (p - rate * g).astype("f4")
    np.testing.assert_array_equal(kernels.sgd_step(p, g, 0.1, 0.0), expected)


@pytest.mark.skipif(not has_fma(), reason="rounds twice where there is no fused multiply-add")
def test_bits_stay():
    """A change of arithmetic shows here; it changes users' results."""
    digest = hashlib.sha256()
    for rule in RULES:
        size = 1003
        p, g = ((np.arange(size) * k % 1009 / 128 - 4).astype("f4") for k in (7, 13))
        given = [p, g, *vectors(rule, size, "float32")[2:]]
        for x in take_steps(getattr(kernels, f"{rule}_step"), rule, given):
            digest.update(x.tobytes())
        digest.update(np.float64(kernels.clip_by_norm(p, np.inf)).tobytes())
    assert digest.hexdigest()[:16] == "3faef710b1e67e08"


def strided(x):
    buffer = np.full(3 * len(x) + 1, 7, x.dtype)
    view = buffer[1::3][::-1]
    view[:] = x
    return buffer, view


@pytest.mark.parametrize("rule", RULES)
def test_strides(rule):
    kernel = getattr(kernels, f"{rule}_step")
    start = vectors(rule, 37, "float32")
    buffers, views = zip(*map(strided, start), strict=True)
    result = kernel(*views, *NUMBERS[rule](1))
    assert result is views[0]
    for buffer, view, x in zip(buffers, views, take_steps(kernel, rule, start, 1), strict=True):
        np.testing.assert_array_equal(view, x)
        assert (buffer[::3] == 7).all()
        assert (buffer[2::3] == 7).all()


@pytest.mark.parametrize("rule", RULES)
def test_threads_and_serial(rule):
    kernel = getattr(kernels, f"{rule}_step")
    start = vectors(rule, 100_003, "float32")
    expected = take_steps(kernel.serial, rule, [x.copy() for x in start], 2)
    for threads in (1, 2, 4):
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        for x, y in zip(take_steps(kernel, rule, [x.copy() for x in start], 2), expected, strict=True):
            np.testing.assert_array_equal(x, y)


def cells(block):
    """A block of arguments as it lies in memory."""
    room, kinds = np.zeros(len(block), np.int64), type(block).__annotations__.values()
    for i, (value, kind) in enumerate(zip(block, kinds, strict=True)):
        (room.view(np.float64) if FIELD_TYPES[kind] == numba.float64 else room)[i] = value
    return room


@pytest.mark.parametrize("rule", RULES)
def test_parts(rule, call_code):
    """Clipping and weight decay included."""
    code, results = update.of("float64", rule), []
    for parts in (1, 2, 3, 7):
        p, g, *_ = vectors(rule, 301, "float64")
        m, v = np.zeros_like(p), np.zeros_like(p)
        addresses = [x.ctypes.data for x in (p, g, m, v)]
        args = cells(Update(*addresses, 301, 0.1, 0.8, 0.9, 1e-6, 0.0, 0.01, 0.5, 0.4, 3))
        for part in reversed(range(parts)):
            call_code(code, args.ctypes.data, part, parts)
        results.append(np.stack([p, m, v]))
        np.testing.assert_array_equal(results[-1], results[0])
    p, g, *kept = vectors(rule, 301, "float64")
    numbers = {"sgd": (), "momentum": (0.8, True), "rmsprop": (0.8, 0.9), "adagrad": (0.8,)}.get(rule, (0.8, 0.9, 1e-6))
    step = (3,) if "adam" in rule else ()
    getattr(reference, f"{rule}_step")(p, np.clip(0.5 * g, -0.4, 0.4), *kept, *step, 0.1, *numbers, weight_decay=0.01)
    np.testing.assert_allclose(results[0][0], p, rtol=1e-12)


def test_from_compiled_code():
    @njit
    def descend(p, g, m, v):
        for step in range(1, 4):
            kernels.adam_step(p, g, m, v, step, 0.1)
        return kernels.serial.adam_step(p, g, m, v, 4, learning_rate=0.1, weight_decay=0.0)

    given = vectors("adam", 50, "float32")
    expected = [x.copy() for x in given]
    for step in range(1, 5):
        kernels.adam_step(*expected, step, 0.1)
    np.testing.assert_array_equal(descend(*given), expected[0])


def test_late_steps():
    """The correction of the bias fades; its power is exact enough for any step."""
    for step in (1000, 10**6, 2**40):
        got, expected = vectors("adam", 20, "float64"), vectors("adam", 20, "float64")
        kernels.adam_step(*got, step, 0.1)
        reference.adam_step(*expected, step, 0.1)
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-12)


@settings(max_examples=50)
@given(arrays("f4", 18, elements=st.floats(-1e4, 1e4, width=32)), st.floats(1e-5, 1))
def test_first_step_of_adam(g, rate):
    """It goes as far as the learning rate at the most, against the sign of the gradient."""
    p = np.zeros_like(g)
    kernels.adam_step(p, g, np.zeros_like(g), np.zeros_like(g), 1, rate)
    assert (abs(p) <= rate * (1 + 1e-5)).all()
    assert (p * g <= 0).all()


# ------------------------------------------------------------------------------------------------------------- refusals

P, G, READ_ONLY = np.zeros(9, "f4"), np.zeros(9, "f4"), np.zeros(9, "f4")
READ_ONLY.flags.writeable = False
REFUSED = {
    "gradients": ("sgd", (P, G[:5], 0.1), ValueError, "gradients: got 5 rows, expected 9, as in parameters"),
    "dtype": ("sgd", (P, G.astype("f8"), 0.1), TypeError, "got dtype float64, expected float32, that of parameters"),
    "a matrix": ("sgd", (P[None], G[None], 0.1), ValueError, "parameters: got 2 dimensions, expected 1"),
    "integers": ("sgd", (P.astype(int), G, 0.1), TypeError, "parameters: got dtype int64"),
    "read-only": ("sgd", (READ_ONLY, G, 0.1), ValueError, "parameters: got a read-only array"),
    "one memory": ("sgd", (P, P, 0.1), ValueError, "parameters: shares memory with gradients"),
    "velocity": ("momentum", (P, G, G[1:] * 1, 0.1), ValueError, "velocity: got 8 rows, expected 9, as in parameters"),
    "no velocity": ("momentum", (P, G, None, 0.1), TypeError, "velocity: got no NumPy array"),
    "m is p": ("adam", (P, G, P, G * 1, 1, 0.1), ValueError, "m: shares memory with parameters"),
    "v is g": ("adamw", (P, G, P * 1, G, 1, 0.1), ValueError, "v: shares memory with gradients"),
    "v is m": ("adam", (P, G, *[G * 1] * 2, 1, 0.1), ValueError, "v: shares memory with m"),
    "step 0": ("adam", (P, G, P * 1, G * 1, 0, 0.1), ValueError, "step: got 0, expected an integer of at least 1"),
    "step 1.0": ("adam", (P, G, P * 1, G * 1, 1.0, 0.1), ValueError, "expected an integer of at least 1"),
    "v": ("rmsprop", (P, G, READ_ONLY, 0.1), ValueError, "v: got a read-only array"),
    "broadcast parameters": (
        "sgd",
        (np.lib.stride_tricks.as_strided(P, (9,), (0,)), G, 0.1),
        ValueError,
        "parameters: got elements that share",
    ),
    "broadcast velocity": (
        "momentum",
        (P, G, np.lib.stride_tricks.as_strided(P * 1, (9,), (0,)), 0.1),
        ValueError,
        "velocity: got elements",
    ),
    "dtype of v": ("adagrad", (P, G, P.astype("f8"), 0.1), TypeError, "v: got dtype float64, expected float32"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason):
    rule, arguments, error, text = REFUSED[reason]
    with pytest.raises(error) as raised:
        getattr(kernels, f"{rule}_step")(*arguments)
    assert text in str(raised.value)
    assert not P.any()
    assert not G.any()


STEPS = {
    "sgd": 2,
    "momentum": 3,
    "adam": 5,
    "adamw": 5,
    "rmsprop": 3,
    "adagrad": 3,
}  # and how many arguments come first
ROOM = (P, G, P * 1, G * 1)


def test_a_vector_or_a_string_for_a_number_is_refused_from_python_and_from_njit():
    for rule, count in STEPS.items():
        first = (*ROOM, 1)[:count]
        step = getattr(kernels, f"{rule}_step")
        defaults = inspect.signature(step.py_func).parameters
        numbers = {
            name: p.default for name, p in defaults.items() if name == "learning_rate" or p.default is not p.empty
        }
        for name in numbers:
            for bad, got in (
                (np.array([0.1, 0.2]), "an array"),
                ("0.1", "a string"),
                (None, "None"),
                (1j, "a complex number"),
            ):
                with pytest.raises(TypeError, match=rf"^{name}: got {got}, expected a number$"):
                    step(*first, **{"learning_rate": 0.1, name: bad})
    assert not P.any()

    @njit
    def descend(p, g, rate):
        kernels.sgd_step(p, g, rate)

    for bad, got in ((np.array([0.1, 0.2]), "an array"), ("0.1", "a string"), (None, "None"), ((0.1,), "a tuple")):
        with pytest.raises(TypeError, match=rf"^learning_rate: got {got}, expected a number$"):
            descend(P, G, bad)
    assert not P.any()
    for rate in (np.float32(0.5), np.array(0.5), 1, True):
        p = np.zeros(9, "f4")
        descend(p, np.ones(9, "f4"), rate)
        assert (p == -np.float32(rate)).all()


def test_arguments_that_compiled_code_cannot_be_given():
    for arguments, message in (
        ((P.tolist(), G, 0.1), "parameters: got list, expected a NumPy array of float32 or float64"),
        ((P, G.astype(np.float16), 0.1), "gradients: got dtype float16, expected float32 or float64"),
        ((P, G, [0.1]), "learning_rate: got list, expected a number"),
        ((P, G, decimal.Decimal("0.1")), "learning_rate: got Decimal, expected a number"),
        ((P, G, 2**80), "learning_rate: got an integer of more than 64 bits, expected a number"),
        ((P, G, 0.1, np.longdouble(0.1)), "weight_decay: got longdouble, expected a number"),
    ):
        for step in (kernels.sgd_step, kernels.serial.sgd_step):
            with pytest.raises(TypeError) as raised:
                step(*arguments)
            assert str(raised.value) == message
    with pytest.raises(TypeError, match="not enough arguments"):
        kernels.sgd_step(P, G)
    assert not P.any()


def test_a_limit_that_is_no_number():
    for clip, name in ((kernels.clip_by_norm, "norm"), (kernels.clip_by_value, "value")):
        for bad, got in ((np.array([0.1, 0.2]), "an array"), ("0.1", "a string"), (None, "None")):
            with pytest.raises(TypeError, match=rf"^{name}: got {got}, expected a number$"):
                clip(np.ones(9, "f4"), bad)


# ------------------------------------------------------------------------------------------------------------- clipping


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_by_norm(dtype):
    for size in [*SIZES, 300_001]:
        g = np.random.default_rng(0).normal(size=size).astype(dtype)
        norm = np.linalg.norm(g.astype(float))
        for limit in (0.5 * norm + 1e-3, norm * 1.001, np.inf):
            got, (buffer, view) = g.copy(), strided(g)
            assert kernels.clip_by_norm(got, limit) == pytest.approx(norm, rel=1e-14)
            np.testing.assert_allclose(got, g * min(1, limit / norm) if size else g, rtol=2 * np.finfo(dtype).eps)
            kernels.clip_by_norm(view, limit)
            np.testing.assert_array_equal(view, got)
            assert (buffer[::3] == 7).all()


def test_norm_is_the_same_for_all_threads(call_code):
    g = np.random.default_rng(0).normal(size=1_000_003).astype("f4")
    norm = kernels.clip_by_norm.serial(g, np.inf)
    for threads in (1, 2, 4):
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        assert kernels.clip_by_norm(g, np.inf) == norm
    for parts in (1, 3, 5):
        sums = np.zeros(SLICES)
        args = cells(NormSquared(g.ctypes.data, g.size, sums.ctypes.data))
        for part in range(parts):
            call_code(norm_squared.of("float32"), args.ctypes.data, part, parts)
        assert np.sqrt(np.cumsum(sums)[-1]) == norm


def test_extreme_norms():
    for value in (1e30, 1e-30):  # whose squares are out of float32's range
        g = np.full(100, value, "f4")
        assert kernels.clip_by_norm(g, 1.0) == pytest.approx(10 * value)
    g = np.array([1, np.nan], "f4")
    assert np.isnan(kernels.clip_by_norm(g, 1.0))
    assert g[0] == 1
    with pytest.raises(ValueError, match=r"norm: got -1\.0, expected a number of at least 0"):
        kernels.clip_by_norm(g, -1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_by_value(dtype):
    g = np.random.default_rng(0).normal(size=1003).astype(dtype)
    g[3], g[5] = np.nan, -np.inf
    _, view = strided(g)
    got = kernels.clip_by_value(view, 0.5)
    assert got is view
    np.testing.assert_array_equal(got, np.clip(g, -0.5, 0.5))
    np.testing.assert_array_equal(kernels.serial.clip_by_value(g, 0.5), got)
    with pytest.raises(ValueError, match="value: got nan, expected a number of at least 0"):
        kernels.clip_by_value(g, np.nan)


def test_clip_inside_compiled_code():
    @njit
    def clipped(g):
        norm = kernels.clip_by_norm(g, 1.0)
        return norm, kernels.clip_by_value(g, 0.1)

    g = np.full(4, 2.0)
    norm, result = clipped(g)
    assert norm == 4
    assert (result == 0.1).all()
