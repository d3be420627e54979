"""Products of one column, whose vectors run across the rows of A, against scalar chains of multiply-adds, to the bit."""

import numpy as np
import pytest
from reference import numbers, product

from fastbp.compiler.arrays import describe_in_python
from fastbp.gemm.column import column_product
from fastbp.gemm.driver import Product
from fastbp.gemm.multiply import multiply

DTYPES = ("float32", "float64")
ROWS = (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 50, 64, 65, 130)


def block_of(a, b, c, accumulate):
    fields = dict.fromkeys(Product._fields, 0)
    fields.update(zip(("a", "ars", "acs"), (a.ctypes.data, *a.strides), strict=True))
    fields.update(zip(("b", "brs", "bcs"), (b.ctypes.data, *b.strides), strict=True))
    fields.update(c=c.ctypes.data, crs=c.strides[0], m=len(a), n=1, k=a.shape[1], accumulate=accumulate)
    return np.array(Product(**fields), np.int64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [0, 1, 7, 8, 9, 15, 16, 17, 100])
def test_each_element_is_a_scalar_chain(call_code, dtype, k):
    """Rows and sums of any length, sliced rows, with steps in b; nothing but C is written."""
    for m in ROWS:
        a, b = numbers((m, k + 3), dtype)[:, 1 : k + 1], numbers((2 * k, 1), dtype, 2)[::2]
        start = numbers((m, 1), dtype, 3)
        for accumulate in (False, True):
            column = np.full(m + 32, 7, dtype)
            view = column[16 : 16 + m, None]
            view[:] = start if accumulate else np.nan
            block = block_of(a, b, view, accumulate)
            assert call_code(column_product.of(dtype), block.ctypes.data, 0, 1) == 0
            assert view.tobytes() == product(a, b, start if accumulate else None).tobytes()
            assert (column[:16] == 7).all()
            assert (column[16 + m :] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_any_number_of_parts_gives_the_same_bits(call_code, dtype, parts):
    a, b, c = numbers((200, 33), dtype), numbers((33, 1), dtype, 2), np.full((200, 1), np.nan, dtype)
    block = block_of(a, b, c, False)
    for part in range(parts):
        call_code(column_product.of(dtype), block.ctypes.data, part, parts)
    assert c.tobytes() == product(a, b).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_minus_zero_stays_behind_the_end_of_a_sum(call_code, dtype):
    """The steps that a last block lacks add nothing, not even a zero."""
    a, b, c = np.zeros((3, 5), dtype), np.full((5, 1), -1, dtype), np.full((3, 1), -0.0, dtype)
    arrays = [np.array(describe_in_python(x), np.int64) for x in (a, b, c)]
    call_code(multiply.of(dtype), *(x.ctypes.data for x in arrays), True, 0, 0, 0)
    assert np.signbit(c).all()
