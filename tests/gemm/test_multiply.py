"""Products of matrices with any strides, against scalar chains of multiply-adds, to the bit."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import LAYOUTS, WRITABLE, numbers, product

from fastbp.compiler.arrays import describe_in_python
from fastbp.gemm.isa import blocks_for
from fastbp.gemm.multiply import multiply
from fastbp.parallel.region import region

DTYPES = ("float32", "float64")
CODES = {dtype: multiply.of(dtype) for dtype in DTYPES}


def multiplied(call_code, a, b, c, accumulate=False, parallel=False):
    """c = or += a @ b, in place."""
    arrays = [np.array(describe_in_python(x), np.int64) for x in (a, b, c)]
    threads = region.of().resolve() if parallel else 0
    assert call_code(CODES[str(a.dtype)], *(x.ctypes.data for x in arrays), accumulate, 0, 0, threads) == 0
    return c


@pytest.mark.parametrize("layout_c", WRITABLE)
@pytest.mark.parametrize("layout_b", LAYOUTS)
@pytest.mark.parametrize("layout_a", LAYOUTS)
def test_any_strides_of_all_three(call_code, layout_a, layout_b, layout_c):
    for dtype in DTYPES:
        a, b, start = numbers((9, 11), dtype), numbers((11, 29), dtype, 2), numbers((9, 29), dtype, 3)
        left, right = LAYOUTS[layout_a](a), LAYOUTS[layout_b](b)
        c = LAYOUTS[layout_c](np.full_like(start, np.nan))
        assert multiplied(call_code, left, right, c).tobytes() == product(a, b).tobytes()
        c = LAYOUTS[layout_c](start)
        assert multiplied(call_code, left, right, c, accumulate=True).tobytes() == product(a, b, start).tobytes()
        assert left.tobytes() == a.tobytes()
        assert right.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_broadcast_inputs(call_code, framed, dtype):
    row, column, one = numbers((1, 12), dtype), numbers((12, 1), dtype, 2), numbers((1, 1), dtype, 3)
    operands = [np.broadcast_to(x, (12, 12)) for x in (row, column, one)]
    for a in operands:
        for b in operands:
            assert multiplied(call_code, a, b, framed((12, 12), dtype)).tobytes() == product(a, b).tobytes()


sizes = st.integers(0, 40)
layouts = st.sampled_from(sorted(LAYOUTS))


@given(m=sizes, n=sizes, k=sizes, a=layouts, b=layouts, c=st.sampled_from(WRITABLE), dtype=st.sampled_from(DTYPES))
def test_any_sizes(call_code, m, n, k, a, b, c, dtype):
    left, right = numbers((m, k), dtype), numbers((k, n), dtype, 2)
    result = LAYOUTS[c](np.full((m, n), np.nan, dtype))
    multiplied(call_code, LAYOUTS[a](left), LAYOUTS[b](right), result)
    assert result.tobytes() == product(left, right).tobytes()


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_axes_of_length_one_may_have_any_stride(call_code, data, dtype):
    """NumPy leaves the stride of such an axis undefined."""
    m, n, k = (data.draw(st.sampled_from([1, 5])) for _ in range(3))
    operands = []
    for x in (numbers((m, k), dtype), numbers((k, n), dtype, 2), np.full((m, n), np.nan, dtype)):
        strides = [data.draw(st.integers(-100, 100)) if x.shape[i] == 1 else x.strides[i] for i in range(2)]
        operands.append(np.lib.stride_tricks.as_strided(x, strides=strides))
    a, b, c = operands
    assert multiplied(call_code, a, b, c).tobytes() == product(a, b).tobytes()


@pytest.mark.parametrize("layout", ["C", "Fortran", "step"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_threads_gives_the_same_bits(call_code, framed, dtype, layout):
    KC = blocks_for(getattr(numba.types, dtype)).KC
    a, b = numbers((70, KC + 9), dtype), numbers((KC + 9, 131), dtype, 2)
    wanted, before = product(a, b).tobytes(), numba.get_num_threads()
    try:
        for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
            numba.set_num_threads(threads)
            c = framed((70, 131), dtype)
            multiplied(call_code, LAYOUTS[layout](a), LAYOUTS[layout](b), c, parallel=True)
            assert c.tobytes() == wanted
    finally:
        numba.set_num_threads(before)
