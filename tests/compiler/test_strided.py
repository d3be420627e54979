"""Work on matrices of any strides that wants its rows contiguous."""

import functools

import numpy as np
import pytest
from numba import njit, types
from reference import LAYOUTS, WRITABLE, numbers

from fastbp.compiler.arrays import Array, describe
from fastbp.compiler.llvm import fetch, read, write
from fastbp.compiler.strided import copier, on_rows

DTYPES = ("float32", "float64")


@functools.cache
def copy_of(dtype):
    inner_copy = copier(getattr(types, dtype))

    @njit
    def copy(target, trs, tcs, source, srs, scs, rows, columns):
        inner_copy(target, trs, tcs, source, srs, scs, rows, columns)

    return copy


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_between_any_strides(dtype, layout, framed):
    source = numbers((5, 7), dtype)
    laid_out, target = LAYOUTS[layout](source), framed((5, 7), dtype)
    copy_of(dtype)(target.ctypes.data, *target.strides, laid_out.ctypes.data, *laid_out.strides, 5, 7)
    np.testing.assert_array_equal(target, source)


@functools.cache
def add_twice(dtype):
    """add(x, both, out): both, out = both + x, 0 where a row is not contiguous; `both` is read and written."""
    real = getattr(types, dtype)
    size = real.bitwidth // 8

    @njit
    def body(rows, scale):
        x, both, out = rows
        for i in range(x.rows):
            for j in range(x.columns):
                at = both.address + i * both.row_stride + j * size
                total = read(at, real) + real(scale) * read(x.address + i * x.row_stride + j * size, real)
                write(at, total)
                write(out.address + i * out.row_stride + j * size, total)

    run = on_rows(real, body, inputs=2, outputs=2)

    @njit
    def add(x, both, out, scale):
        run((fetch(Array, describe(x)), fetch(Array, describe(both)), fetch(Array, describe(out))), scale)

    return add


@pytest.mark.parametrize("layout_out", WRITABLE)
@pytest.mark.parametrize("layout_both", WRITABLE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_read_is_copied_before_and_what_is_written_after(layout, layout_both, layout_out):
    for dtype in DTYPES:
        x, both = numbers((5, 7), dtype), numbers((5, 7), dtype, 2)
        inout, out = LAYOUTS[layout_both](both), LAYOUTS[layout_out](np.full_like(x, np.nan))
        laid_out = LAYOUTS[layout](x)
        add_twice(dtype)(laid_out, inout, out, 2)
        np.testing.assert_array_equal(inout, both + 2 * x)
        np.testing.assert_array_equal(out, both + 2 * x)
        np.testing.assert_array_equal(laid_out, x)
