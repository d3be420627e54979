"""A copy of a vector, if all of it is finite: any size, any place, any number of threads."""

import numba
import numpy as np
import pytest

from fastbp.engine.finite import FLOPS_PER_ELEMENT, copy_if_finite
from fastbp.gemm.isa import blocks_for
from fastbp.parallel.region import region
from fastbp.parallel.sharing import SERIAL_BELOW

DTYPES = ("float32", "float64")
BAD = (np.nan, -np.nan, np.inf, -np.inf)


def lanes_of(dtype):
    return blocks_for(getattr(numba.types, dtype)).lanes


def sizes(dtype):
    lanes = lanes_of(dtype)
    near = (k * lanes + d for k in (1, 2, 4, 8) for d in (-1, 0, 1))
    return sorted({0, 1, 2, 3, *near})


def finite_numbers(size, dtype):
    """Among them zeros of both signs, the largest, and the smallest above zero."""
    info = np.finfo(dtype)
    special = np.array([0.0, -0.0, info.max, -info.max, info.tiny, info.smallest_subnormal, 1.0, -2.5], dtype)
    return np.resize(special, size)


def copied(call_code, source, target, parallel=False):
    assert source.flags.c_contiguous
    assert target.flags.c_contiguous
    address = region.of().resolve() if parallel else 0
    code = copy_if_finite.of(source.dtype.name)
    return call_code(code, source.ctypes.data, target.ctypes.data, source.size, address)


@pytest.mark.parametrize("dtype", DTYPES)
def test_finite_numbers_are_copied_and_nothing_else_is_written(dtype, call_code, framed):
    for size in sizes(dtype):
        source, target = framed((size,), dtype), framed((size,), dtype)
        source[:] = finite_numbers(size, dtype)
        assert copied(call_code, source, target) == 1
        assert target.tobytes() == finite_numbers(size, dtype).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_around_the_vector_do_not_matter(dtype, call_code):
    for size in sizes(dtype):
        room = np.full(size + 8 * lanes_of(dtype), np.nan, dtype)
        source, target = room[lanes_of(dtype) :][:size], np.zeros(size, dtype)
        source[:] = 1.0
        assert copied(call_code, source, target) == 1
        assert (target == 1.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_that_is_not_finite_is_found_anywhere_and_the_target_is_left_alone(dtype, call_code, framed):
    for size in sizes(dtype):
        source, target = framed((size,), dtype), framed((size,), dtype)
        target[:] = 3.0
        for place in range(size):
            source[:] = finite_numbers(size, dtype)
            source[place] = BAD[place % len(BAD)]
            assert copied(call_code, source, target) == 0, (size, place)
        assert (target == 3.0).all()


def test_infinities_that_would_cancel_are_found(call_code):
    source, target = np.zeros(200, np.float32), np.zeros(200, np.float32)
    source[::2], source[1::2] = np.inf, -np.inf
    assert copied(call_code, source, target) == 0


@pytest.fixture
def threads():
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_large_vector_is_shared(dtype, count, call_code, threads, framed):
    threads(count)
    size = int(4 * SERIAL_BELOW / FLOPS_PER_ELEMENT) + 3
    source, target = finite_numbers(size, dtype), framed((size,), dtype)
    assert copied(call_code, source, target, parallel=True) == 1
    assert target.tobytes() == source.tobytes()
    target[:] = 3.0
    for place in (0, 1, size // 4, size // 3, size // 2, 3 * size // 4, size - 2, size - 1):
        before = source[place]
        source[place] = np.nan
        assert copied(call_code, source, target, parallel=True) == 0, place
        source[place] = before
    assert (target == 3.0).all()
