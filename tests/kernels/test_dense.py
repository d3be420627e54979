"""The four kernels of a dense layer, from Python and from `@njit`, against their definitions to the bit."""

import hashlib
import json
import os

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from reference import LAYOUTS, WRITABLE, numbers

from fastbp.compiler.faults import DtypeError, ShapeError
from fastbp.compiler.llvm import has_fma
from fastbp.kernels import dense
from fastbp.kernels.activations import Activation, activate, activation_delta

DTYPES = ("float32", "float64")
RELU = Activation.RELU
KERNELS = ("dense_forward", "propagate_delta", "weight_gradient", "bias_gradient")


class Case:
    """A call of a kernel: its inputs in order, what comes after them, the shape of its output."""

    def __init__(self, name, K, m, n, dtype="float32"):
        delta, a, w = numbers((K, m), dtype), numbers((K, n), dtype, 2), numbers((m, n), dtype, 3)
        b, stored = numbers((m,), dtype, 4), numbers((K, n), dtype, 5)
        self.name, self.dtype = name, dtype
        self.inputs, self.after, self.shape = {
            "dense_forward": ((a, w, b), (RELU,), (K, m)),
            "propagate_delta": ((delta, w, stored), (RELU,), (K, n)),
            "weight_gradient": ((delta, a), (), (m, n)),
            "bias_gradient": ((delta,), (), (m,)),
        }[name]
        self.kernel, self.definition = getattr(dense, name), getattr(reference, name)

    def wanted(self):
        return self.definition(*self.inputs, *self.after)

    def arranged(self, layout):
        """The inputs in a layout; vectors as rows of it."""
        return [LAYOUTS[layout](x) if x.ndim == 2 else LAYOUTS[layout](x[None])[0] for x in self.inputs]


def same_bits(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


@pytest.fixture
def restored_threads():
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


# ---------------------------------------------------------------------------------------------------------- arithmetic

SIZES = [(0, 3, 4), (1, 1, 1), (5, 1, 7), (5, 7, 1), (3, 0, 4), (4, 3, 0), (17, 9, 49), (33, 50, 24), (600, 5, 3)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KERNELS)
def test_it_is_its_definition_to_the_bit_and_writes_only_its_output(framed, name, dtype, sizes):
    """Without `out`, and into one that is full of NaN; the serial twin alike."""
    case = Case(name, *sizes, dtype)
    before = [x.tobytes() for x in case.inputs]
    assert same_bits(case.kernel(*case.inputs, *case.after), case.wanted())
    for kernel in (case.kernel, case.kernel.serial):
        out = framed(case.shape, dtype)
        assert kernel(*case.inputs, *case.after, out=out).ctypes.data == out.ctypes.data
        assert same_bits(out, case.wanted())
    assert [x.tobytes() for x in case.inputs] == before


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", KERNELS)
def test_any_strides(name, layout):
    for dtype in DTYPES if layout in ("slice", "negative step") else ("float32",):
        case = Case(name, 13, 6, 19, dtype)
        out = np.full(case.shape, np.nan, dtype)
        out = (
            out if layout not in WRITABLE else LAYOUTS[layout](out) if out.ndim == 2 else LAYOUTS[layout](out[None])[0]
        )
        assert same_bits(case.kernel(*case.arranged(layout), *case.after, out=out), case.wanted())


@given(K=st.integers(0, 40), m=st.integers(0, 40), n=st.integers(0, 60), name=st.sampled_from(KERNELS))
def test_any_sizes(K, m, n, name):
    case = Case(name, K, m, n)
    assert same_bits(case.kernel(*case.inputs, *case.after), case.wanted())


@pytest.mark.parametrize("activation", range(len(Activation)), ids=reference.NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_activations_have_the_bits_of_separate_passes(framed, dtype, activation):
    a, w, b = numbers((7, 20), dtype), numbers((23, 20), dtype, 2), numbers((23,), dtype, 3)
    out, z = framed((7, 23), dtype), framed((7, 23), dtype)
    dense.dense_forward(a, w, b, activation, out, z)
    assert same_bits(z, reference.product(a, w.T) + b)
    assert same_bits(out, activate(z, activation))

    delta, stored = numbers((7, 23), dtype, 4), numbers((7, 20), dtype, 5)
    wanted = activation_delta(reference.product(delta, w), stored, activation)
    assert same_bits(dense.propagate_delta(delta, w, stored, activation), wanted)


@pytest.mark.parametrize("layout", ["Fortran", "step", "negative step"])
@pytest.mark.parametrize("bias", [False, True])
def test_pre_activations_and_bias_are_optional_and_of_any_strides(layout, bias):
    a, w, b = Case("dense_forward", 7, 23, 20).inputs
    b = LAYOUTS[layout](b[None])[0] if bias else None
    for activation in (Activation.IDENTITY, RELU):
        wanted_z = np.full((7, 23), np.nan, np.float32)
        wanted = reference.dense_forward(a, w, b, activation, None, wanted_z)
        z, out = (LAYOUTS[layout](np.full((7, 23), np.nan, np.float32)) for _ in range(2))
        assert same_bits(dense.dense_forward(a, w, b, activation), wanted)
        assert same_bits(dense.dense_forward(a, w, b, activation, out, z), wanted)
        assert same_bits(z, wanted_z)


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("name", ["weight_gradient", "bias_gradient"])
def test_accumulate_goes_on_from_the_old_value(name, layout):
    case = Case(name, 13, 6, 19)
    old = numbers(case.shape, "float32", 9)
    out = LAYOUTS[layout](old) if old.ndim == 2 else LAYOUTS[layout](old[None])[0]
    case.kernel(*case.inputs, out, True)
    assert same_bits(out, case.definition(*case.inputs, old.copy(), True))
    case.kernel(*case.inputs, out, accumulate=False)
    assert same_bits(out, case.wanted())


def test_no_samples_give_zeros_or_leave_what_accumulates():
    delta, a, out = np.empty((0, 3), np.float32), np.empty((0, 4), np.float32), numbers((3, 4), np.float32)
    assert (dense.weight_gradient(delta, a) == 0).all()
    assert (dense.bias_gradient(delta) == 0).all()
    assert same_bits(dense.weight_gradient(delta, a, out, True), numbers((3, 4), np.float32))
    assert dense.dense_forward(a, np.ones((3, 4), np.float32), None, RELU).shape == (0, 3)
    assert dense.propagate_delta(delta, np.ones((3, 4), np.float32), a, RELU).shape == (0, 4)


def test_the_derivative_of_the_identity_needs_nothing_stored():
    delta, w, stored = Case("propagate_delta", 7, 6, 5).inputs
    wanted = reference.product(delta, w)
    assert same_bits(dense.propagate_delta(delta, w, None, Activation.IDENTITY), wanted)
    assert same_bits(dense.propagate_delta(delta, w, stored, Activation.IDENTITY), wanted)


def test_three_ways_to_a_weight_gradient_agree_exactly_on_integers():
    delta, a = (np.round(8 * numbers(shape, np.float32)) for shape in ((32, 10), (32, 30)))
    grad_w = dense.weight_gradient(delta, a)
    for way in ("loop", "tiling", "product"):
        np.testing.assert_array_equal(grad_w, getattr(reference, f"weight_gradient_by_{way}")(delta, a))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_error_is_bounded_by_that_of_a_sum_in_any_order(dtype):
    """|error| <= K eps (|delta|.T @ |a|), against the wider type."""
    delta, a = numbers((700, 12), dtype), numbers((700, 31), dtype, 2)
    wide = np.float64 if dtype == "float32" else np.longdouble
    error = np.abs(dense.weight_gradient(delta, a) - delta.T.astype(wide) @ a.astype(wide))
    assert (error <= 700 * np.finfo(dtype).eps * (np.abs(delta).T @ np.abs(a))).all()


def test_nan_and_infinities_pass_through():
    a, w, b = Case("dense_forward", 5, 6, 7).inputs
    a[2, 3], a[4, 0] = np.nan, np.inf
    out = dense.dense_forward(a, w, b, RELU)
    assert np.isnan(out[2]).all()
    assert np.isin(out[4], [0, np.inf]).all()
    assert np.isfinite(out[[0, 1, 3]]).all()


# ------------------------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KERNELS)
def test_any_number_of_threads_and_the_serial_twin_give_the_same_bits(restored_threads, name, dtype):
    case = Case(name, 4500 if name == "bias_gradient" else 200, 99, 120, dtype)
    wanted = case.wanted()
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        numba.set_num_threads(threads)
        assert same_bits(case.kernel(*case.inputs, *case.after), wanted)
    assert same_bits(case.kernel.serial(*case.inputs, *case.after), wanted)


@pytest.mark.parametrize("columns", [1, 16, 17, 32, 33, 48, 64, 99])
@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_add_each_column_once(call_code, dtype, columns):
    delta, old = numbers((5, columns), dtype), numbers((columns,), dtype, 2)
    wanted = reference.bias_gradient(delta, old.copy(), True)
    for parts in (1, 2, 3, 4):
        sums = old.copy()
        args = np.array([delta.ctypes.data, delta.strides[0], 5, columns, sums.ctypes.data, True], np.int64)
        for part in range(parts):
            call_code(dense.column_sums.of(dtype), args.ctypes.data, part, parts)
        assert same_bits(sums, wanted), parts


@pytest.mark.parametrize("columns", [32, 99])
def test_threads_add_each_column_once(restored_threads, columns):
    delta, old = numbers((250_000 // columns, columns), "float32"), numbers((columns,), "float32", 2)
    wanted = reference.bias_gradient(delta, old.copy(), True)
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        numba.set_num_threads(threads)
        np.testing.assert_array_equal(dense.bias_gradient(delta, old.copy(), True), wanted)


# ---------------------------------------------------------------------------------------------------------- from @njit


@njit
def call_dense_forward(a, w, b, activation):
    return dense.dense_forward(a, w, b, activation), dense.dense_forward(a, w, None, Activation.RELU)


@njit
def call_propagate_delta(delta, w, stored, activation):
    return dense.propagate_delta(delta, w, stored, activation), dense.propagate_delta(delta, w, None, 0)


@njit
def call_weight_gradient(delta, a):
    grad_w = dense.weight_gradient(delta, a)
    return grad_w, dense.weight_gradient(delta, a, out=grad_w.copy(), accumulate=True)


@njit
def call_bias_gradient(delta):
    grad_b = dense.bias_gradient(delta)
    return grad_b, dense.bias_gradient(delta, grad_b.copy(), True)


def test_dense_forward_from_njit():
    a, w, b = Case("dense_forward", 6, 5, 20).inputs
    with_bias, without = call_dense_forward(a, w, b, RELU)
    assert same_bits(with_bias, reference.dense_forward(a, w, b, RELU))
    assert same_bits(without, reference.dense_forward(a, w, None, RELU))


def test_propagate_delta_from_njit():
    delta, w, stored = Case("propagate_delta", 6, 5, 20).inputs
    relu, identity = call_propagate_delta(delta, w, stored, RELU)
    assert same_bits(relu, reference.propagate_delta(delta, w, stored, RELU))
    assert same_bits(identity, reference.product(delta, w))


def test_weight_gradient_from_njit():
    delta, a = Case("weight_gradient", 6, 5, 20).inputs
    once, twice = call_weight_gradient(delta, a)
    assert same_bits(once, reference.weight_gradient(delta, a))
    assert same_bits(twice, reference.weight_gradient(delta, a, once.copy(), True))


def test_bias_gradient_from_njit():
    (delta,) = Case("bias_gradient", 6, 5, 20).inputs
    once, twice = call_bias_gradient(delta)
    assert same_bits(once, reference.bias_gradient(delta))
    assert same_bits(twice, reference.bias_gradient(delta, once.copy(), True))


@njit
def refused_in_njit(delta, a, out):
    try:
        dense.weight_gradient(delta, a, out)
    except Exception:
        return True
    return False


def test_errors_from_njit():
    delta, a, out = np.ones((5, 3), np.float32), np.ones((4, 7), np.float32), np.zeros((3, 7), np.float32)
    with pytest.raises(ShapeError, match="a: got 4 rows, expected 5, as in delta"):
        njit(lambda delta, a: dense.weight_gradient(delta, a))(delta, a)
    assert refused_in_njit(delta, a, out)
    assert not refused_in_njit(delta[:4], a, out)
    assert (out == 4).all()


# -------------------------------------------------------------------------------------------------------------- errors


def good(**changed):
    """Arrays that go together, but for the changed ones: K = 5, m = 3, n = 7."""
    shapes = {"delta": (5, 3), "a": (5, 7), "w": (3, 7), "b": (3,), "stored": (5, 7), "z": (5, 3)}
    return {**{name: np.ones(shape, np.float32) for name, shape in shapes.items()}, "activation": RELU, **changed}


ARGUMENTS = {
    "dense_forward": ("a", "w", "b", "activation", "out", "z"),
    "propagate_delta": ("delta", "w", "stored", "activation", "out"),
    "weight_gradient": ("delta", "a", "out"),
    "bias_gradient": ("delta", "out"),
}
OUTPUTS = {"dense_forward": (5, 3), "propagate_delta": (5, 7), "weight_gradient": (3, 7), "bias_gradient": (3,)}


def refused(name, error, message, **changed):
    """The call raises that, and writes nothing."""
    arguments = good(**{"out": np.full(OUTPUTS[name], 7, np.float32), **changed})
    outputs = [x for x in (arguments["out"], arguments["z"]) if isinstance(x, np.ndarray)]
    before = [x.tobytes() for x in outputs]
    with pytest.raises(error, match=message):
        getattr(dense, name)(*(arguments[x] for x in ARGUMENTS[name]))
    assert [x.tobytes() for x in outputs] == before


WRONG_LENGTHS = [
    ("dense_forward", "w", (3, 6), "w: got 6 columns, expected 7, as in a"),
    ("dense_forward", "b", (4,), "b: got 4 rows, expected 3, as in w"),
    ("dense_forward", "out", (4, 3), "out: got 4 rows, expected 5, as in a"),
    ("dense_forward", "out", (5, 4), "out: got 4 columns, expected 3, as in w"),
    ("dense_forward", "z", (6, 3), "z: got 6 rows, expected 5, as in a"),
    ("dense_forward", "z", (5, 2), "z: got 2 columns, expected 3, as in w"),
    ("propagate_delta", "w", (4, 7), "w: got 4 rows, expected 3, as in delta"),
    ("propagate_delta", "stored", (4, 7), "stored: got 4 rows, expected 5, as in delta"),
    ("propagate_delta", "stored", (5, 8), "stored: got 8 columns, expected 7, as in w"),
    ("propagate_delta", "out", (5, 6), "out: got 6 columns, expected 7, as in w"),
    ("weight_gradient", "a", (4, 7), "a: got 4 rows, expected 5, as in delta"),
    ("weight_gradient", "out", (2, 7), "out: got 2 rows, expected 3, as in delta"),
    ("weight_gradient", "out", (3, 8), "out: got 8 columns, expected 7, as in a"),
    ("bias_gradient", "out", (4,), "out: got 4 rows, expected 3, as in delta"),
]


@pytest.mark.parametrize(("name", "argument", "shape", "message"), WRONG_LENGTHS, ids=[x[-1] for x in WRONG_LENGTHS])
def test_lengths_that_do_not_go_together_are_refused(name, argument, shape, message):
    refused(name, ShapeError, message, **{argument: np.ones(shape, np.float32)})


ARRAY_ARGUMENTS = [(name, x) for name, arguments in ARGUMENTS.items() for x in arguments if x != "activation"]


@pytest.mark.parametrize(("name", "argument"), ARRAY_ARGUMENTS)
def test_other_numbers_of_dimensions_are_refused(name, argument):
    wanted = good(out=np.ones(OUTPUTS[name], np.float32))[argument].ndim
    for shape in ((5,), (5, 3), (5, 3, 7)):
        if len(shape) != wanted:
            message = f"{argument}: got {len(shape)} dimensions, expected {wanted}"
            refused(name, ShapeError, message, **{argument: np.ones(shape, np.float32)})


@pytest.mark.parametrize(("name", "argument"), ARRAY_ARGUMENTS)
def test_other_dtypes_are_refused(name, argument):
    first = ARGUMENTS[name][0]
    expected = "float32 or float64" if argument == first else f"float32, that of {first}"
    shape = good(out=np.ones(OUTPUTS[name], np.float32))[argument].shape
    refused(
        name, DtypeError, f"{argument}: got dtype int32, expected float32 or", **{argument: np.ones(shape, np.int32)}
    )
    if argument != first:
        message = f"{argument}: got dtype float64, expected {expected}"
        refused(name, DtypeError, message, **{argument: np.ones(shape)})


@pytest.mark.parametrize(
    ("x", "came"),
    [
        (np.ones((5, 3), np.int64), "dtype int64"),
        (np.ones((5, 3), np.uint8), "dtype uint8"),
        (np.ones((5, 3), np.uint16), "dtype uint16"),
        (np.ones((5, 3), bool), "dtype bool"),
        (np.ones((5, 3), complex), "dtype"),
        (np.ones((5, 3), "U3"), "dtype"),
        (np.ones((5, 3), "f2"), "dtype"),
        (None, "no NumPy array"),
        (3.0, "no NumPy array"),
        ((1.0, 2.0), "no NumPy array"),
        ("text", "no NumPy array"),
    ],
    ids=lambda x: getattr(x, "dtype", x).__str__(),
)
def test_what_is_no_array_of_floats_is_refused_by_name(x, came):
    refused("bias_gradient", TypeError, f"delta: got {came}.*expected.* float32 or float64", delta=x)


@pytest.mark.parametrize(("name", "argument"), [(name, "out") for name in KERNELS] + [("dense_forward", "z")])
def test_read_only_outputs_are_refused(name, argument):
    shape = OUTPUTS[name]
    message = f"{argument}: got a read-only array, expected one that can be written"
    refused(name, ShapeError, message, **{argument: LAYOUTS["read-only"](np.ones(shape, np.float32))})


@pytest.mark.parametrize(("name", "argument"), [(name, "out") for name in KERNELS] + [("dense_forward", "z")])
def test_outputs_whose_elements_share_memory_are_refused(name, argument):
    shape, room = OUTPUTS[name], np.ones(100, np.float32)
    message = f"{argument}: got elements that share memory with each other"
    for strides in [(0, 4), (4, 0), (4, 4), (8, 4)] if len(shape) == 2 else [(0,), (2,)]:
        out = np.lib.stride_tricks.as_strided(room, shape, strides)
        refused(name, ShapeError, message, **{argument: out})


@pytest.mark.parametrize("activation", [-1, 13, 2**40])
@pytest.mark.parametrize("name", ["dense_forward", "propagate_delta"])
def test_unknown_activations_are_refused(name, activation):
    message = f"activation: got {activation}, expected one of fb.Activation, 0 to 12"
    refused(name, ShapeError, message, activation=activation)


@pytest.mark.parametrize("activation", ["relu", None, 1.0])
def test_activations_that_are_no_integers_are_refused(activation):
    refused("dense_forward", (ShapeError, DtypeError), "activation: got", activation=activation)


@pytest.mark.parametrize("accumulate", [None, 0.0, "no"])
def test_accumulate_is_a_bool_and_nothing_else(accumulate):
    """Anything else must not silently count as true."""
    delta, a, out = np.ones((5, 3), np.float32), np.ones((5, 7), np.float32), np.ones((3, 7), np.float32)
    with pytest.raises((TypeError, ValueError), match="accumulate"):
        dense.weight_gradient(delta, a, out, accumulate)
    assert (out == 1).all()


# ------------------------------------------------------------------------------------------------------- shared memory


def parts_of_one_buffer(K, columns):
    """Two column slices of one buffer."""
    buffer = np.ones((K, sum(columns)), np.float32)
    return buffer[:, : columns[0]], buffer[:, columns[0] :]


@pytest.mark.parametrize("other", ["a", "w", "b", "out"])
def test_pre_activations_share_no_memory(other):
    room = np.ones(200, np.float32)
    shape = good(out=np.ones((5, 3), np.float32))[other].shape
    shared = room[: np.prod(shape)].reshape(shape)
    refused(
        "dense_forward", ShapeError, f"z: shares memory with {other}", **{"z": room[1:16].reshape(5, 3), other: shared}
    )


INPUTS_OF = [
    (name, x) for name, arguments in ARGUMENTS.items() for x in arguments if x not in ("activation", "out", "z")
]


@pytest.mark.parametrize(("name", "other"), INPUTS_OF)
def test_outputs_share_no_memory_with_an_input(name, other):
    shape, room = OUTPUTS[name], np.ones(200, np.float32)
    given_shape = good()[other].shape
    for first in (0, 1):
        shared = room[: np.prod(given_shape)].reshape(given_shape)
        out = room[first : first + np.prod(shape)].reshape(shape)
        refused(name, ShapeError, f"out: shares memory with {other}", **{"out": out, other: shared})


def test_two_column_slices_of_one_buffer_do_not_share_memory():
    delta = numbers((5, 3), "float32")
    a, out = parts_of_one_buffer(5, (7, 3))
    w = numbers((3, 7), "float32", 2)
    wanted = reference.dense_forward(a, w, None, RELU)
    assert same_bits(dense.dense_forward(a, w, None, RELU, out), wanted)
    assert (a == 1).all()
    out, stored = parts_of_one_buffer(5, (7, 7))
    wanted = reference.propagate_delta(delta, w, stored, RELU)
    assert same_bits(dense.propagate_delta(delta, w, stored, RELU, out), wanted)


@st.composite
def view(draw, buffer, columns):
    """A view of a buffer of 8 rows and 12 columns: any rows and steps, so many columns."""
    step = draw(st.sampled_from([1, 1, 1, 2, -1]))
    first = draw(st.integers(0, 12 - columns * abs(step)))
    start, stop = draw(st.integers(0, 8)), draw(st.integers(0, 8))
    row_step = draw(st.sampled_from([1, 1, 1, 2, -1]))
    return buffer[start:stop, first : first + columns * abs(step)][::row_step, ::step]


@given(st.data(), st.integers(1, 6))
def test_shared_memory_is_always_noticed_and_slices_that_are_apart_are_not_refused(data, columns):
    buffer = np.zeros((8, 12), np.float32)
    a, out = data.draw(view(buffer, columns)), data.draw(view(buffer, columns))
    delta = np.ones((len(a), len(out)), np.float32)
    if np.shares_memory(a, out):
        with pytest.raises(ShapeError, match="out: shares memory with a"):
            dense.weight_gradient(delta, a, out)
    elif a.strides == out.strides == (48, 4):  # without steps: others may be refused
        dense.weight_gradient(delta, a, out)


# ------------------------------------------------------------------------------------------------------ other targets


def golden(dtype, names=KERNELS):
    """A hash of what each kernel makes of fixed pseudo-random numbers."""
    hashes = {}
    for name in names:
        digest = hashlib.sha256()
        for sizes in ((3, 5, 7), (37, 41, 53), (130, 20, 300)):
            case = Case(name, *sizes, dtype)
            digest.update(case.kernel(*case.inputs, *case.after).tobytes())
        hashes[name] = digest.hexdigest()[:16]
    return hashes


GOLDEN = {
    "float32": {
        "dense_forward": "7cd051b1dc0449c1",
        "propagate_delta": "fef65ebcc1f023cd",
        "weight_gradient": "04040aeff611cbf3",
        "bias_gradient": "0b05bfbe0c07aed5",
    },
    "float64": {
        "dense_forward": "398a802ad565769f",
        "propagate_delta": "c3c665640f239df2",
        "weight_gradient": "6accb4d6ff1fea0e",
        "bias_gradient": "fb4ee0848c1290f9",
    },
}


@pytest.mark.skipif(not has_fma(), reason="without fused multiply-add the bits are others")
@pytest.mark.parametrize("dtype", DTYPES)
def test_golden_hashes(dtype):
    """Any change of arithmetic shows here."""
    assert golden(dtype) == GOLDEN[dtype]


GOLDEN_ON_AVX2 = """
    import json, sys
    sys.path.insert(0, {folder!r})
    from fastbp.gemm.isa import target_isa
    from test_dense import golden
    print(target_isa().name, json.dumps(golden("float32", ["weight_gradient", "bias_gradient"])))
"""


HOST = {name for name, present in llvm.get_host_cpu_features().items() if present}


@pytest.mark.skipif(not {"avx2", "fma"} <= HOST, reason="no AVX2 here")
def test_avx2_gives_the_same_bits(run_python, request):
    """Two kernels that are compiled quickly; for the others, run the test above with these variables set."""
    code = GOLDEN_ON_AVX2.format(folder=str(request.path.parent))
    done = run_python(code, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="+avx2,+fma")
    name, hashes = done.stdout.split(" ", 1)
    assert name == "avx2"
    assert json.loads(hashes).items() <= GOLDEN["float32"].items()


# ------------------------------------------------------------------------------------------------------------- memory

ALLOCATIONS = """
    import numpy as np
    from numba import njit
    from numba.core.runtime import rtsys
    from fastbp.kernels import dense
    K, m, n = 8, 16, 16
    delta, a, w, z = (np.ones(shape, np.float32) for shape in ((K, m), (K, n), (m, n), (K, m)))
    b, grad_b, stored, out = (np.ones(shape, np.float32) for shape in ((m,), (m,), (K, n), (K, m)))
    grad_w, delta_a = np.ones((m, n), np.float32), np.ones((K, n), np.float32)

    @njit
    def many_steps(delta, a, w, z, b, grad_b, stored, out, grad_w, delta_a):
        for _ in range(100):
            {call}

    arguments = delta, a, w, z, b, grad_b, stored, out, grad_w, delta_a
    many_steps(*arguments)
    before = rtsys.get_allocation_stats().alloc
    many_steps(*arguments)
    print(rtsys.get_allocation_stats().alloc - before)
"""


@pytest.mark.parametrize(
    "call",
    [
        "dense.dense_forward(a, w, b, 1, out, z)",
        "dense.propagate_delta(delta, w, stored, 1, delta_a)",
        "dense.weight_gradient(delta, a, grad_w)",
        "dense.bias_gradient(delta, grad_b)",
    ],
)
def test_small_calls_with_out_allocate_nothing(run_python, call):
    """A call from Python allocates for each array argument, whatever it calls: so 100 calls from `@njit`."""
    code = ALLOCATIONS.format(call=call)
    assert int(run_python(code, cache=None, NUMBA_NRT_STATS="1").stdout) < 100


GUARD_PAGES = """
    import ctypes, mmap
    import numpy as np
    import reference
    from fastbp.gemm.isa import target_isa
    from fastbp.kernels import dense
    from reference import numbers

    PAGE, libc = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True)

    def guarded(x, at_end):
        \"\"\"A copy of x that ends just before, or begins just after, a page that must not be touched.\"\"\"
        room = mmap.mmap(-1, PAGE * 8)
        buffer = np.frombuffer(room, np.uint8)
        for page in (0, 7):
            assert libc.mprotect(ctypes.c_void_p(buffer.ctypes.data + page * PAGE), PAGE, 0) == 0
        start = 7 * PAGE - x.nbytes if at_end else PAGE
        copy = buffer[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
        copy[...] = x
        return copy

    for at_end in (True, False):
        for K, m, n in ((1, 1, 1), (2, 3, 5), (5, 17, 9), (7, 33, 49), (9, 50, 31), (70, 5, 7)):
            delta, a, w = (guarded(numbers(s, np.float32), at_end) for s in ((K, m), (K, n), (m, n)))
            b, out = guarded(numbers((m,), np.float32), at_end), guarded(np.zeros((K, m), np.float32), at_end)
            grad_w, delta_a = guarded(np.zeros((m, n), np.float32), at_end), guarded(a, at_end)
            dense.weight_gradient(delta, a, grad_w)
            assert (grad_w == reference.weight_gradient(delta, a)).all()
            dense.bias_gradient(delta, b)
            assert (b == reference.bias_gradient(delta)).all()
            if {only_gradients}:
                continue
            dense.dense_forward(a, w, b, 1, out)
            assert (out == reference.dense_forward(a, w, b, 1)).all()
            dense.propagate_delta(delta, w, a, 1, delta_a)
            assert (delta_a == reference.propagate_delta(delta, w, a, 1)).all()
    print(target_isa().name)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
def test_nothing_is_read_or_written_beyond_the_arrays(run_python):
    """The arrays lie against pages that must not be touched."""
    run_python(GUARD_PAGES.format(only_gradients=False), cache=None)


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
def test_plain_sse2_is_right_and_touches_nothing_beyond_the_arrays_either(run_python):
    code = GUARD_PAGES.format(only_gradients=True)
    done = run_python(code, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert done.stdout.strip() in ("sse2", "neon")
