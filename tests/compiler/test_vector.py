"""Vector values: every operator and function exactly, lane by lane; loads and stores at the edge of their memory."""

import ctypes
import mmap
import operator
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from numba import njit, types
from numba.core.errors import TypingError

from fastbp.compiler.llvm import address_of, has_fma
from fastbp.compiler.vector import (
    PerDtype,
    absolute,
    bits,
    copysign,
    first,
    fma,
    from_bits,
    load,
    maximum,
    minimum,
    polynomial,
    reduce_add,
    reduce_max,
    select,
    splat,
    sqrt,
    store,
)

REALS = [types.float32, types.float64]
TENTH = PerDtype(0.1, 0.1)
COUNT = PerDtype(3, 5)
COEFFICIENTS = PerDtype((1, 0.3, 0.25), (1, 0.3, 0.25, 0.125))
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.1, -3.5, 1e-45, 1e30, -1e-30]


def lanes_of(real):
    return 512 // real.bitwidth


def pairs(real):
    """Two arrays: every pair of special values, then random ones; their length is odd, so that a part is masked."""
    rng = np.random.default_rng(0)
    x, y = (np.append(part.ravel(), rng.normal(size=301)) for part in np.meshgrid(SPECIAL, SPECIAL))
    return x.astype(real.name), y.astype(real.name)


def run(operation, real, *arrays):
    """`operation` on vectors, over whole arrays of one length."""
    lanes, size = lanes_of(real), real.bitwidth // 8
    operation = njit(operation)

    @njit
    def loop(x, y, out):
        at_x, at_y, at_out = address_of(x), address_of(y), address_of(out)
        for i in range(0, len(x), lanes):
            n, offset = len(x) - i, i * size
            store(at_out + offset, operation(load(at_x + offset, n, real), load(at_y + offset, n, real)), n)
        return x.size + y.size + out.size

    out = np.full_like(arrays[0], 77)
    loop(*arrays, out)
    return out


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_arithmetic_is_that_of_ieee(operation, real):
    x, y = pairs(real)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(run(lambda x, y: operation(x, y), real, x, y), operation(x, y))


@pytest.mark.parametrize("real", REALS)
def test_products_and_sums_are_not_contracted(real):
    x, y = pairs(real)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(run(lambda x, y: x * y + x, real, x, y), x * y + x)


@pytest.mark.parametrize("real", REALS)
def test_comparisons_are_those_of_python(real):
    def which(x, y):
        below = select(x < y, splat(x, 1), 0) + select(x <= y, splat(x, 2), 0)
        above = select(x > y, splat(x, 4), 0) + select(x >= y, splat(x, 8), 0)
        return below + above + (select(x == y, splat(x, 16), 0) + select(x != y, splat(x, 32), 0))

    x, y = pairs(real)
    comparisons = [x < y, x <= y, x > y, x >= y, x == y, x != y]
    np.testing.assert_array_equal(run(which, real, x, y), sum(holds * 2**i for i, holds in enumerate(comparisons)))


@pytest.mark.parametrize("real", REALS)
def test_masks_combine(real):
    x, y = pairs(real)
    got = run(lambda x, y: select(((x < y) & ~(x < 0)) | ((y == 1) ^ (x == 1)), x, y), real, x, y)
    np.testing.assert_array_equal(got, np.where(((x < y) & ~(x < 0)) | ((y == 1) ^ (x == 1)), x, y))


@pytest.mark.parametrize("real", REALS)
def test_scalars_are_rounded_once_to_the_dtype(real):
    x, y = pairs(real)
    kind = np.dtype(real.name).type
    with np.errstate(all="ignore"):
        want = (x * kind(0.1) - y * kind(0.1)) + (kind(0.3) - y) / kind(16777217)
        got = run(lambda x, y: (x * 0.1 - y * TENTH) + (0.3 - y) / 16777217, real, x, y)
    np.testing.assert_array_equal(got, want)


def nearest(kind, exact):
    """The float nearest to a Fraction; a tie goes to the even one."""
    near = kind(float(exact))
    candidates = [np.nextafter(near, kind(-np.inf)), near, np.nextafter(near, kind(np.inf))]
    return min(candidates, key=lambda c: (abs(Fraction(float(c)) - exact), int(c.view(f"i{c.itemsize}")) & 1))


@pytest.mark.skipif(not has_fma(), reason="the target has no fused multiply-add")
@pytest.mark.parametrize("real", REALS)
def test_fma_rounds_once(real):
    """The addend cancels the rounded product: what is left shows whether the product was rounded."""
    rng = np.random.default_rng(2)
    x, y = (rng.normal(size=200).astype(real.name) for _ in range(2))
    z = -(x * y)
    exact = [Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)) for a, b, c in zip(x, y, z, strict=True)]
    got = run(lambda x, y: fma(x, y, -(x * y)), real, x, y)
    np.testing.assert_array_equal(got, [nearest(x.dtype.type, value) for value in exact])
    assert np.any(got != 0)


@pytest.mark.parametrize("real", REALS)
def test_polynomial_is_horners_rule(real):
    x, _ = pairs(real)
    coefficients = COEFFICIENTS.of(real)

    def by_hand(x, y):
        if len(coefficients) == 3:
            return fma(x, fma(x, splat(x, 0.25), 0.3), 1)
        return fma(x, fma(x, fma(x, splat(x, 0.125), 0.25), 0.3), 1)

    np.testing.assert_array_equal(run(lambda x, y: polynomial(x, COEFFICIENTS), real, x, x), run(by_hand, real, x, x))


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (lambda x, y: -x, lambda x, y: -x),
        (lambda x, y: absolute(x), lambda x, y: np.abs(x)),
        (lambda x, y: copysign(x, y), np.copysign),
        (lambda x, y: sqrt(absolute(x)), lambda x, y: np.sqrt(np.abs(x))),
        (lambda x, y: minimum(x, y), lambda x, y: np.where(x < y, x, y)),
        (lambda x, y: maximum(x, y), lambda x, y: np.where(x > y, x, y)),
        (lambda x, y: maximum(0, y), lambda x, y: np.where(y < 0, 0, y)),
        (lambda x, y: x * reduce_add(splat(x, 0.5)), lambda x, y: x * (32 / x.itemsize)),
    ],
    ids=["negative", "absolute", "copysign", "sqrt", "minimum", "maximum", "relu", "runtime_scalar"],
)
def test_functions(function, reference, real):
    x, y = pairs(real)
    with np.errstate(all="ignore"):
        got, want = run(function, real, x, y), reference(x, y)
    np.testing.assert_array_equal(got, want)
    known = ~np.isnan(got)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(want[known]))


@pytest.mark.parametrize("real", REALS)
def test_bit_patterns(real):
    def mixed(x, y):
        p, q = bits(x), bits(y)
        return from_bits(((p + q * 3 - 1) ^ (q >> COUNT)) & ~(p << COUNT) | (p & 255))

    x, y = pairs(real)
    p, q = (a.view(f"u{a.itemsize}") for a in (x, y))
    count = p.dtype.type(COUNT.of(real))
    three, one, low = (p.dtype.type(value) for value in (3, 1, 255))
    want = ((p + q * three - one) ^ (q >> count)) & ~(p << count) | (p & low)
    np.testing.assert_array_equal(run(mixed, real, x, y).view(p.dtype), want)


@pytest.mark.parametrize("dtype", [types.int32, types.uint64])
def test_integers_load_compare_and_shift_by_their_sign(dtype):
    x, y = (np.random.default_rng(i).integers(0, 2**63, 101).astype(dtype.name) for i in range(2))
    got = run(lambda x, y: select(x < y, (x - y) >> 3, x | y), dtype, x, y)
    np.testing.assert_array_equal(got, np.where(x < y, (x - y) >> np.array(3, dtype.name), x | y))


@pytest.mark.parametrize("real", REALS)
def test_first_and_reductions(real):
    """Each n in turn: the tree of the sum, lane by lane, and the largest of the lanes below n."""

    @njit
    def reduce(address, n):
        x = load(address, 999, real)
        masked = select(first(n, real), x, -1e30)
        return reduce_add(x), reduce_max(masked), reduce_add(select(first(n, x), splat(x, 1), 0))

    lanes = lanes_of(real)
    x = np.random.default_rng(3).normal(size=lanes).astype(real.name)
    tree = x
    while len(tree) > 1:
        half = len(tree) // 2
        tree = tree[:half] + tree[half:]
    for n in [*range(1, lanes + 3), 2**40]:
        assert reduce(x.ctypes.data, n) == (tree[0], x[:n].max(), min(n, lanes))


@pytest.mark.parametrize("real", REALS)
def test_stores_touch_the_first_n_elements_only(real):
    @njit
    def copy(source, target, n):
        store(target, load(source, n, real) + 1, n)

    lanes = lanes_of(real)
    x = np.arange(2 * lanes, dtype=real.name)
    for n in [*range(lanes + 3), 2**40]:
        for start in range(3):  # any alignment
            out = np.full(lanes + 8, -7, real.name)
            copy(x[start:].ctypes.data, out[start:].ctypes.data, n)
            m = min(n, lanes)
            np.testing.assert_array_equal(out[start : start + m], x[start : start + m] + 1)
            assert np.all(out[:start] == -7)
            assert np.all(out[start + m :] == -7)


@pytest.mark.parametrize("real", REALS)
def test_lanes_beyond_n_load_as_zero(real):
    @njit
    def sum_of(address, n):
        return reduce_add(load(address, n, real))

    x = np.ones(40, real.name)
    assert [sum_of(x.ctypes.data, n) for n in range(20)] == [min(n, lanes_of(real)) for n in range(20)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect as on Linux")
@pytest.mark.parametrize("real", REALS)
def test_memory_beyond_n_is_not_touched(real):
    """The elements end where the readable page ends: another byte would kill the process."""

    @njit
    def twice(address, n):
        store(address, load(address, n, real) * 2, n)

    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    protect = lambda rights: libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), rights)  # noqa: E731
    assert protect(0) == 0
    try:
        for n in range(lanes_of(real) + 1):
            elements = np.frombuffer(memory, real.name, n, page - n * real.bitwidth // 8) if n else np.empty(0)
            elements[:] = 3
            twice(start + page - n * real.bitwidth // 8, n)
            assert np.all(elements == 6)
    finally:
        protect(mmap.PROT_READ | mmap.PROT_WRITE)


def test_mixed_types_are_refused():
    @njit
    def mixed(address):
        return reduce_add(load(address, 1, types.float32) + load(address, 1, types.float64))

    @njit
    def fraction_in_integers(address):
        return reduce_add(from_bits(bits(load(address, 1, types.float32)) + 0.5))

    with pytest.raises(TypingError):
        mixed(0)
    with pytest.raises(TypingError):
        fraction_in_integers(0)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names of x86 processors")
@pytest.mark.parametrize(
    ("name", "features", "answer"),
    [
        ("generic", "", False),
        ("haswell", "+avx2,+fma", True),
        ("haswell", "+avx2", True),
        ("haswell", "+avx2,-fma", False),
    ],
)
def test_fma_is_asked_of_what_numba_compiles_for(name, features, answer):
    environment = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    code = "from fastbp.compiler.llvm import has_fma; print(has_fma())"
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == str(answer)
