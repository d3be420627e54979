"""Activations and their derivatives as kernels, from Python and from `@njit`, against their definitions."""

import hashlib

import numba
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from reference import LAYOUTS, NAMES, WRITABLE, numbers

from fastbp.compiler.faults import DtypeError, ShapeError
from fastbp.compiler.llvm import has_fma
from fastbp.kernels.activations import Activation, activate, activation_delta

DTYPES = ("float32", "float64")
ACTIVATIONS = range(len(NAMES))
each_activation = pytest.mark.parametrize("activation", ACTIVATIONS, ids=NAMES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def same_bits(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def data(shape, dtype, seed=1):
    """From -4 to 4: both sides of every bend."""
    return 8 * numbers(shape, dtype, seed)


def stored_for(z, activation):
    """What the derivative is computed from."""
    return z if NAMES[activation] in reference.FROM_PRE_ACTIVATION else activate(z, activation)


def assert_close(x, wanted, ulps):
    eps = np.finfo(x.dtype).eps
    np.testing.assert_allclose(x, wanted, rtol=ulps * eps, atol=np.finfo(x.dtype).tiny, strict=True)


# ---------------------------------------------------------------------------------------------------------- arithmetic


def test_codes_are_plain_ints_in_the_order_of_the_names():
    assert [name.lower() for name in Activation._fields] == list(NAMES)
    assert list(Activation) == list(ACTIVATIONS)
    assert all(type(code) is int for code in Activation)
    assert (Activation.IDENTITY, Activation.RELU) == (0, 1)


@each_activation
@each_dtype
def test_values_are_those_of_the_definition(dtype, activation):
    """To the bit where it needs no exp; else to 16 units in the last place (the definition's own error included)."""
    z = data((37, 29), dtype)
    y, wanted = activate(z, activation), reference.activate(z, activation)
    if NAMES[activation] in reference.EXACT:
        assert same_bits(y, wanted)
    else:
        assert_close(y, wanted, 16)


@each_activation
@each_dtype
def test_derivatives_are_those_of_the_definition(dtype, activation):
    """To the bit where it needs no exp; else to 16 eps max(1, |f'|)."""
    delta, stored = numbers((37, 29), dtype, 2), stored_for(data((37, 29), dtype), activation)
    got, wanted = activation_delta(delta, stored, activation), reference.activation_delta(delta, stored, activation)
    if NAMES[activation] in reference.EXACT:
        assert same_bits(got, wanted)
    else:
        np.testing.assert_allclose(got, wanted, rtol=0, atol=16 * np.finfo(dtype).eps)


@each_activation
@each_dtype
def test_limits_and_nan(dtype, activation):
    z = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
    at_infinity = {"sigmoid": (1, 0), "hard_sigmoid": (1, 0), "tanh": (1, -1), "elu": (np.inf, -1)}
    y = activate(z, activation)
    assert np.isnan(y[0])
    if NAMES[activation] == "selu":
        np.testing.assert_allclose(y[1:3], [np.inf, -reference.SCALE * reference.ALPHA], rtol=1e-6)
    else:
        low = -np.inf if NAMES[activation] in ("identity", "leaky_relu") else 0
        assert tuple(y[1:3]) == at_infinity.get(NAMES[activation], (np.inf, low))
    np.testing.assert_allclose(y[3:], reference.activate(z[3:], activation), rtol=1e-6)


# ------------------------------------------------------------------------------------------------------ any arguments


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0), (1, 1), (1, 40), (40, 1), (3, 17), (9, 16)], ids=str)
@each_dtype
def test_any_size_writes_only_its_output(framed, dtype, sizes):
    z, delta = data(sizes, dtype), numbers(sizes, dtype, 2)
    wanted, wanted_delta = reference.activate(z, 1), reference.activation_delta(delta, z, 1)
    assert same_bits(activate(z, 1), wanted)
    assert same_bits(activation_delta(delta, z, 1), wanted_delta)
    for apply, apply_delta in ((activate, activation_delta), (activate.serial, activation_delta.serial)):
        out, out_delta = framed(sizes, dtype), framed(sizes, dtype)
        assert apply(z, 1, out).ctypes.data == out.ctypes.data
        apply_delta(delta, z, 1, out=out_delta)
        assert same_bits(out, wanted)
        assert same_bits(out_delta, wanted_delta)
    assert same_bits(z, data(sizes, dtype))
    assert same_bits(delta, numbers(sizes, dtype, 2))


@given(rows=st.integers(0, 20), columns=st.integers(0, 70), activation=st.sampled_from(ACTIVATIONS))
def test_a_matrix_is_treated_as_its_elements_are(rows, columns, activation):
    """Whatever an element's place among the lanes of a vector, its bits are the same."""
    z = data((rows, columns), np.float32)
    whole = activate(z, activation)
    assert same_bits(whole, activate(LAYOUTS["step"](z), activation))
    assert same_bits(whole[:, 1:], activate(z[:, 1:], activation))
    assert same_bits(whole.ravel(), activate(z.ravel(), activation))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(layout):
    z, delta = data((13, 19), np.float32), numbers((13, 19), np.float32, 2)
    out = np.full((13, 19), np.nan, np.float32)
    out = LAYOUTS[layout](out) if layout in WRITABLE else out
    assert same_bits(activate(LAYOUTS[layout](z), 4, out), activate(z, 4))
    wanted = activation_delta(delta, z, 4)
    assert same_bits(activation_delta(LAYOUTS[layout](delta), LAYOUTS[layout](z), 4, out), wanted)


@pytest.mark.parametrize("layouts", [("C", "Fortran", "step"), ("slice", "C", "negative step"), ("step", "slice", "C")])
def test_operands_of_different_layouts(layouts):
    z, delta, out = data((13, 19), np.float32), numbers((13, 19), np.float32, 2), np.zeros((13, 19), np.float32)
    delta_, z_, out_ = (LAYOUTS[layout](x) for layout, x in zip(layouts, (delta, z, out), strict=True))
    assert same_bits(activation_delta(delta_, z_, 4, out_), activation_delta(delta, z, 4))


@pytest.mark.parametrize("step", [1, 2, -1, -3])
@each_dtype
def test_vectors_of_any_step(dtype, step):
    z, delta = data((90,), dtype)[::step], numbers((90,), dtype, 2)[::step]
    out = np.full(90, np.nan, dtype)[::step]
    assert same_bits(activate(z, 1, out), reference.activate(z, 1))
    assert same_bits(activation_delta(delta, z, 1), reference.activation_delta(delta, z, 1))


@pytest.mark.parametrize("layout", WRITABLE)
def test_in_place(layout):
    z, delta = data((13, 19), np.float32), numbers((13, 19), np.float32, 2)
    wanted, wanted_delta = activate(z, 4), activation_delta(delta, z, 4)
    x = LAYOUTS[layout](z)
    assert same_bits(activate(x, 4, x), wanted)
    d, x = LAYOUTS[layout](delta), LAYOUTS[layout](z)
    assert same_bits(activation_delta(d, x, 4, d), wanted_delta)
    d = LAYOUTS[layout](delta)
    assert same_bits(activation_delta(d, x, 4, x), wanted_delta)


@each_activation
@each_dtype
def test_any_number_of_threads_and_the_serial_twin_give_the_same_bits(dtype, activation):
    z, delta = data((301, 307), dtype), numbers((301, 307), dtype, 2)
    strided = LAYOUTS["slice"](z)
    wanted, wanted_delta = activate.serial(z, activation), activation_delta.serial(delta, z, activation)
    before = numba.get_num_threads()
    try:
        for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
            numba.set_num_threads(threads)
            assert same_bits(activate(z, activation), wanted)
            assert same_bits(activate(strided, activation), wanted)
            assert same_bits(activation_delta(delta, z, activation), wanted_delta)
    finally:
        numba.set_num_threads(before)


# ---------------------------------------------------------------------------------------------------------- from @njit


@njit
def from_njit(z, delta, activation):
    y = activate(z, Activation.TANH)
    return y, activation_delta(delta, activate(z, activation), activation), activate(z[0], activation, z[0])


def test_from_njit():
    z, delta = data((5, 20), np.float32), numbers((5, 20), np.float32, 2)
    wanted = reference.activate(z, 1)
    y, before, row = from_njit(z.copy(), delta, 1)
    assert same_bits(y, activate(z, Activation.TANH))
    assert same_bits(before, reference.activation_delta(delta, wanted, 1))
    assert same_bits(row, wanted[0])


def test_errors_from_njit():
    z, out = np.ones((5, 3), np.float32), np.zeros((5, 4), np.float32)
    with pytest.raises(ShapeError, match="out: got 4 columns, expected 3, as in z"):
        njit(lambda z, out: activate(z, 1, out))(z, out)
    assert (out == 0).all()


# -------------------------------------------------------------------------------------------------------------- errors


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


REFUSED = [
    ((ones(5, 3), 1, ones(4, 3)), ShapeError, "out: got 4 rows, expected 5, as in z"),
    ((ones(5, 3), 1, ones(5, 2)), ShapeError, "out: got 2 columns, expected 3, as in z"),
    ((ones(5), 1, ones(5, 1)), ShapeError, "out: got 2 dimensions, expected 1"),
    ((ones(5, 3, 2), 1, ones(5, 3)), ShapeError, "z: got 3 dimensions, expected"),
    ((ones(), 1, ones(5, 3)), (ShapeError, DtypeError), "z: got"),
    ((ones(5, 3), 1, ones(5, 3, dtype=np.float64)), DtypeError, "out: got dtype float64, expected float32, that of z"),
    ((ones(5, 3, dtype=np.int64), 1, ones(5, 3)), DtypeError, "z: got dtype int64, expected float32 or float64"),
    ((None, 1, ones(5, 3)), DtypeError, "z: got no NumPy array"),
    ((2.0, 1, ones(5, 3)), DtypeError, "z: got no NumPy array"),
    ((ones(5, 3), 1, 2.0), DtypeError, "out: got no NumPy array"),
    ((ones(5, 3), 13, ones(5, 3)), ShapeError, "activation: got 13, expected one of fb.Activation, 0 to 12"),
    ((ones(5, 3), -1, ones(5, 3)), ShapeError, "activation: got -1, expected"),
    ((ones(5, 3), "relu", ones(5, 3)), (ShapeError, DtypeError), "activation: got"),
    ((ones(5, 3), 1, reference.read_only(ones(5, 3))), ShapeError, "out: got a read-only array, expected one that can"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED, ids=[x[-1] for x in REFUSED])
def test_what_does_not_go_together_is_refused_and_nothing_written(arguments, error, message):
    out = arguments[-1]
    before = out.tobytes() if isinstance(out, np.ndarray) else None
    with pytest.raises(error, match=message):
        activate(*arguments)
    assert before is None or out.tobytes() == before


REFUSED_DELTAS = [
    ((ones(5, 3), ones(4, 3), 1), ShapeError, "stored: got 4 rows, expected 5, as in delta"),
    ((ones(5, 3), ones(5, 4), 1), ShapeError, "stored: got 4 columns, expected 3, as in delta"),
    ((ones(5, 3), ones(5), 1), ShapeError, "stored: got 1 dimensions, expected 2"),
    ((ones(5, 3), None, 1), DtypeError, "stored: got no NumPy array"),
    (
        (ones(5, 3), ones(5, 3, dtype=np.float64), 1),
        DtypeError,
        "stored: got dtype float64, expected float32, that of delta",
    ),
    ((ones(5, 3), ones(5, 3), 99), ShapeError, "activation: got 99"),
    ((ones(5, 3), ones(5, 3), 1, ones(3, 5)), ShapeError, "out: got 3 rows, expected 5, as in delta"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED_DELTAS, ids=[x[-1] for x in REFUSED_DELTAS])
def test_what_does_not_go_together_with_delta_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        activation_delta(*arguments)


def test_an_output_that_shares_part_of_an_input_is_refused():
    buffer = np.ones((6, 10), np.float32)
    apart = np.ones((5, 4), np.float32)
    for z, out in (
        (buffer[:5, :4], buffer[1:, :4]),
        (buffer[:5, :4], buffer[:5, 3:7]),
        (buffer[:5, :4], buffer[4::-1, :4]),
    ):
        with pytest.raises(ShapeError, match="out: shares memory with z, expected memory of its own"):
            activate(z, 1, out)
        with pytest.raises(ShapeError, match="out: shares memory with delta"):
            activation_delta(z, apart, 1, out)
        with pytest.raises(ShapeError, match="out: shares memory with stored"):
            activation_delta(apart, z, 1, out)
    assert (buffer == 1).all()
    activate(buffer[:5, :4], Activation.IDENTITY, buffer[:5, 4:8])  # two column slices do not share


# ------------------------------------------------------------------------------------------------------- golden hashes


def golden(dtype):
    """A hash of what each activation and its derivative make of fixed pseudo-random numbers."""
    z, delta = 4 * data((61, 67), dtype), numbers((61, 67), dtype, 2)
    hashes = {}
    for activation, name in enumerate(NAMES):
        y = activate(z, activation)
        before = activation_delta(delta, z if name in reference.FROM_PRE_ACTIVATION else y, activation)
        hashes[name] = hashlib.sha256(y.tobytes() + before.tobytes()).hexdigest()[:16]
    return hashes


GOLDEN = {
    "float32": {
        "identity": "b17cd473539be33b",
        "relu": "5f25f49056d1c31a",
        "leaky_relu": "71d9013f8d9e2ed9",
        "elu": "a636cc9d5cca449b",
        "selu": "2a696a144261d4f7",
        "gelu": "63be5a0a2f84bdfc",
        "gelu_tanh": "9a2ca29be1bd4087",
        "silu": "30b6242f1462b7fd",
        "mish": "878a9204a3755b27",
        "softplus": "a2b720cba35dfcd2",
        "tanh": "467bf1dd88a6d9bb",
        "sigmoid": "c6d4c2769c9769ac",
        "hard_sigmoid": "ef5b935d44f1daea",
    },
    "float64": {
        "identity": "1cf17de2888175e7",
        "relu": "11d064aa0efc0c37",
        "leaky_relu": "baea7487595e4d78",
        "elu": "218c1caf7cd6f74c",
        "selu": "e03fa7416f0f9ce9",
        "gelu": "4cb699b85aece707",
        "gelu_tanh": "ebe43a07803f6259",
        "silu": "1575082e87e07a70",
        "mish": "d3656b77de64a6ba",
        "softplus": "dbbde5ca28b0d6c3",
        "tanh": "981ddc27f336ef5c",
        "sigmoid": "976d273ace084b2c",
        "hard_sigmoid": "29ddb832dcabd102",
    },
}


@pytest.mark.skipif(not has_fma(), reason="without fused multiply-add the bits are others")
@each_dtype
def test_golden_hashes(dtype):
    """Any change of arithmetic shows here; to see that AVX2 has the same, run it with numba's variables for the CPU."""
    assert golden(dtype) == GOLDEN[dtype]


ALLOCATIONS = """
    import numpy as np
    from numba import njit
    from numba.core.runtime import rtsys
    from fastbp.kernels.activations import activate, activation_delta

    @njit
    def many_steps(z, delta, out):
        for _ in range(100):
            activate(z, 4, out)
            activation_delta(delta, z, 4, out)

    arguments = [np.ones((8, 16), np.float32) for _ in range(3)]
    many_steps(*arguments)
    before = rtsys.get_allocation_stats().alloc
    many_steps(*arguments)
    print(rtsys.get_allocation_stats().alloc - before)
"""


def test_small_calls_with_out_allocate_nothing(run_python):
    """A call from Python allocates for each array argument, whatever it calls: so 100 calls from `@njit`."""
    assert int(run_python(ALLOCATIONS, cache=None, NUMBA_NRT_STATS="1").stdout) < 100
