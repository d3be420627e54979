"""The four kernels of a dense layer: its output, and the three products and sums of backpropagation."""

import numpy as np
from numba import types
from numba.extending import overload

from fastbp._check import (
    A,
    CLEAR,
    Array,
    DELTA,
    OUT,
    check_apart,
    check_floats,
    check_length,
    check_output,
    check_shape,
    describe,
    extent,
    integer,
    raise_fault,
)
from fastbp._jit import code_per_dtype, inner, kernel
from fastbp._llvm import call, fetch, on_stack
from fastbp.gemm.driver import Product
from fastbp.gemm.multiply import multiply
from fastbp.gemm.region import region


def new_matrix(like, rows, columns):
    """An uninitialised array of the dtype of `like`."""
    raise TypeError("for compiled code")


@overload(new_matrix)
def _new_matrix(like, rows, columns):
    if not isinstance(like, types.Array):  # the checks will refuse it
        return lambda like, rows, columns: np.empty((0, 0))
    return lambda like, rows, columns: np.empty((rows, columns), like.dtype)


@inner
def output(out, like, rows, columns):
    """`out`, or a new array where it is None."""
    if out is None:
        return new_matrix(like, rows, columns)
    return out


@code_per_dtype
def check_and_multiply(real):
    kind, size = (3, 4) if real == types.float32 else (4, 8)

    def weight_gradient(delta, a, out, accumulate, region, fault):
        d, x, g = fetch(Array, delta), fetch(Array, a), fetch(Array, out)
        fine = (
            check_floats(fault, DELTA, d, 2, DELTA, kind)
            and check_floats(fault, A, x, 2, DELTA, kind)
            and check_length(fault, A, 0, x.rows, DELTA, d.rows)
            and check_floats(fault, OUT, g, 2, DELTA, kind)
            and check_length(fault, OUT, 0, g.rows, DELTA, d.columns)
            and check_length(fault, OUT, 1, g.columns, A, x.columns)
            and check_output(fault, OUT, g)
            and check_apart(fault, OUT, g, DELTA, d, size)
            and check_apart(fault, OUT, g, A, x, size)
        )
        if fine:
            p = Product(d.address, d.column_stride, d.row_stride, x.address, x.row_stride, x.column_stride,
                g.address, g.row_stride, g.rows, g.columns, d.rows, accumulate, 0, 0, 0)
            call(multiply(real), (on_stack(p), g.column_stride, region))
        return 0

    return weight_gradient


@kernel
def weight_gradient(delta, a, out=None, accumulate=False):
    """delta.T @ a: the sum over the minibatch of the weight gradients of its samples."""
    grad_w = output(out, delta, extent(delta, 1), extent(a, 1))
    fault = on_stack(CLEAR)
    call(
        check_and_multiply(delta),
        (describe(delta), describe(a), describe(grad_w), integer(accumulate), region(), fault),
    )
    raise_fault(fault)
    return grad_w
