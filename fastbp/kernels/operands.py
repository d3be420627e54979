"""Operands of any strides, brought into the form that the passes take: rows whose elements lie side by side."""

import functools

import numpy as np
from numba import types
from numba.extending import overload

from fastbp.compiler.arguments import NOTHING, Array
from fastbp.compiler.jit import inner
from fastbp.gemm.pack import copier


def is_float_array(x) -> bool:
    return isinstance(x, types.Array) and x.dtype in (types.float32, types.float64) and x.ndim in (1, 2)


def is_none(x) -> bool:
    return isinstance(x, types.NoneType | types.Omitted) or x is None


def allocator(shape_of):
    """output(out, like, ...): `out`, or where that is None a new array of the dtype of `like` and of shape
    shape_of(like, ...), a function that can be compiled."""
    shape_of = inner(shape_of)

    def output(out, like, *sizes):
        raise TypeError("only for compiled code")

    @overload(output)
    def compiled_output(out, like, *sizes):
        if not is_none(out):
            return lambda out, like, *sizes: out
        if not is_float_array(like):
            return lambda out, like, *sizes: np.empty((0, 0))  # the checks will refuse `like`
        return lambda out, like, *sizes: np.empty(shape_of(like, *sizes), like.dtype)

    return output


output = allocator(lambda like, rows, columns: (rows, columns))
output_vector = allocator(lambda like, length: length)
output_like = allocator(lambda like: like.shape)


@inner
def as_row(x):
    """A vector as a matrix of one row; anything else as it is."""
    if x.ndim != 1:
        return x
    return Array(x.address, x.kind, 2, 1, x.rows, x.row_stride * x.rows, x.row_stride, x.writable)


@inner
def has_rows(x, size):
    """Whether the rows of x are contiguous."""
    return x.kind == NOTHING or x.column_stride == size or x.columns <= 1


@inner
def bytes_of_rows(x, size):
    """How much memory a copy of x with contiguous rows takes, if it needs one."""
    return 0 if has_rows(x, size) else size * x.rows * x.columns


@functools.cache  # compiled once for all that use it
def row_maker(real):
    """with_rows(x, work, copies): x, or the same at address `work` with contiguous rows, filled if `copies`."""
    size, copy = real.bitwidth // 8, copier(real)

    @inner
    def with_rows(x, work, copies):
        if has_rows(x, size):
            return x
        stride = size * x.columns
        if copies:
            copy(work, stride, size, x.address, x.row_stride, x.column_stride, x.rows, x.columns)
        return Array(work, x.kind, x.ndim, x.rows, x.columns, stride, size, x.writable)

    return with_rows
