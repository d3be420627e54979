"""The four kernels of a dense layer: its output, and the products and sums of backpropagation."""

from typing import NamedTuple

import numpy as np

from fastbp.compiler.arguments import (
    ACCUMULATE,
    CLEAR,
    DELTA,
    NOTHING,
    OUT,
    STORED,
    A,
    Array,
    B,
    W,
    Z,
    check_apart,
    check_flag,
    check_floats,
    check_length,
    check_output,
    check_shape,
    describe,
    extent,
    integer,
    kind_of_dtype,
    raise_fault,
)
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import address_of, call, fetch, on_stack
from fastbp.compiler.vector import load, store
from fastbp.gemm.driver import Product, share
from fastbp.gemm.multiply import multiply
from fastbp.gemm.pack import copier
from fastbp.kernels.activation_passes import Backward, Forward, backward_pass, forward_pass, size_and_lanes
from fastbp.kernels.activations import Activation, check_activation
from fastbp.kernels.operands import as_row, bytes_of_rows, output, output_vector, row_maker
from fastbp.parallel.region import region
from fastbp.parallel.sharing import share_out

IDENTITY = Activation.IDENTITY


@inner
def check_result(fault, name, out, like, kind, rows, rows_of, columns, columns_of):
    """`out` is a matrix of that kind and shape, and can be written."""
    return (
        check_floats(fault, name, out, 2, like, kind)
        and check_shape(fault, name, out, rows, rows_of, columns, columns_of)
        and check_output(fault, name, out)
    )


# ------------------------------------------------------------------------------------------------------ weight_gradient


@code_per_dtype
def weight_gradient_code(real):
    kind, size = kind_of_dtype(real), real.bitwidth // 8

    def weight_gradient_code(delta, a, out, accumulate, region, fault):
        d, x, g = fetch(Array, delta), fetch(Array, a), fetch(Array, out)
        if (
            check_floats(fault, DELTA, d, 2, DELTA, kind)
            and check_floats(fault, A, x, 2, DELTA, kind)
            and check_length(fault, A, 0, x.rows, DELTA, d.rows)
            and check_result(fault, OUT, g, DELTA, kind, d.columns, DELTA, x.columns, A)
            and check_apart(fault, OUT, g, DELTA, d, size)
            and check_apart(fault, OUT, g, A, x, size)
            and check_flag(fault, ACCUMULATE, accumulate)
        ):
            left, right = (d.address, d.column_stride, d.row_stride), (x.address, x.row_stride, x.column_stride)
            sizes = (d.columns, x.columns, d.rows)
            args = on_stack(Product(*left, *right, g.address, g.row_stride, *sizes, accumulate, 0, 0, 0, 0, 0, 0))
            call(multiply(real), (args, g.column_stride, region))
        return 0

    return weight_gradient_code


@kernel
def weight_gradient(delta, a, out=None, accumulate=False):
    """delta.T @ a: the sum over the minibatch of the weight gradients of its samples.

    delta (K, m), a (K, n): float32 or float64, both of one dtype, any strides; K = 0 gives zeros. out (m, n): overwritten,
    or added to when `accumulate`; allocated when None; shares no memory with the inputs. Returns out. Each element is one
    chain of fused multiply-adds in ascending k. Raises ShapeError (a ValueError) or DtypeError (a TypeError) before
    anything is written. Method: Rumelhart, Hinton & Williams (1986), for a minibatch.
    """
    grad_w = output(out, delta, extent(delta, 1), extent(a, 1))
    fault = on_stack(CLEAR)
    adds = integer(accumulate) if out is not None else min(integer(accumulate), 0)  # nothing to add to
    call(weight_gradient_code(delta), (describe(delta), describe(a), describe(grad_w), adds, region(), fault))
    raise_fault(fault)
    return grad_w


# -------------------------------------------------------------------------------------------------------- dense_forward


@code_per_dtype
def dense_forward_code(real):
    kind, size = kind_of_dtype(real), real.bitwidth // 8
    with_rows, copy = row_maker(real), copier(real)

    @inner
    def checked(x, weights, bias, activation, c, pre, fault):
        return (
            check_floats(fault, A, x, 2, A, kind)
            and check_floats(fault, W, weights, 2, A, kind)
            and check_length(fault, W, 1, weights.columns, A, x.columns)
            and check_activation(fault, activation)
            and (bias.kind == NOTHING or check_floats(fault, B, bias, 1, A, kind))
            and (bias.kind == NOTHING or check_length(fault, B, 0, bias.rows, W, weights.rows))
            and check_result(fault, OUT, c, A, kind, x.rows, A, weights.rows, W)
            and (pre.kind == NOTHING or check_result(fault, Z, pre, A, kind, x.rows, A, weights.rows, W))
            and check_apart(fault, OUT, c, A, x, size)
            and check_apart(fault, OUT, c, W, weights, size)
            and check_apart(fault, OUT, c, B, bias, size)
            and check_apart(fault, Z, pre, A, x, size)
            and check_apart(fault, Z, pre, W, weights, size)
            and check_apart(fault, Z, pre, B, bias, size)
            and check_apart(fault, Z, pre, OUT, c, size)
        )

    @inner
    def forward(x, weights, bias, activation, c, pre, region):
        finish, finish_args = 0, 0
        if bias.kind != NOTHING or pre.kind != NOTHING or activation != IDENTITY:
            finish = forward_pass(real, activation)
            finish_args = on_stack(Forward(0, 0, bias.address, pre.address, pre.row_stride, 0))
        left = (x.address, x.row_stride, x.column_stride)
        right = (weights.address, weights.column_stride, weights.row_stride)
        sizes = (x.rows, weights.rows, x.columns)
        args = on_stack(Product(*left, *right, c.address, c.row_stride, *sizes, 0, finish, finish_args, 0, 0, 0, 0))
        call(multiply(real), (args, c.column_stride, region))

    @inner
    def forward_with_copies(x, weights, bias, activation, c, pre, region, needed):
        room = np.empty(needed, np.uint8)
        work = address_of(room)
        rows = with_rows(pre, work + bytes_of_rows(bias, size), False)
        forward(x, weights, with_rows(bias, work, True), activation, c, rows, region)
        if rows.address != pre.address:
            copy(
                pre.address,
                pre.row_stride,
                pre.column_stride,
                rows.address,
                rows.row_stride,
                size,
                pre.rows,
                pre.columns,
            )
        room[0] = 0  # its address does not keep it alive

    def dense_forward_code(a, w, b, activation, out, z, region, fault):
        x, weights, bias, c, pre = fetch(Array, a), fetch(Array, w), fetch(Array, b), fetch(Array, out), fetch(Array, z)
        if checked(x, weights, bias, activation, c, pre, fault):
            bias = as_row(bias)
            needed = bytes_of_rows(bias, size) + bytes_of_rows(pre, size)
            if needed == 0:
                forward(x, weights, bias, activation, c, pre, region)
            else:
                forward_with_copies(x, weights, bias, activation, c, pre, region, needed)
        return 0

    return dense_forward_code


@kernel
def dense_forward(a, w, b, activation, out=None, z=None):
    """activation(a @ w.T + b): the output of a dense layer for a minibatch.

    a (K, n), w (m, n), b (m,) or None: float32 or float64, all of one dtype, any strides. activation: one of
    `fb.Activation`. out (K, m): overwritten, allocated when None. z (K, m) or None: gets the pre-activations
    a @ w.T + b. Neither shares memory with an input or with the other. Returns out. Raises ShapeError (a ValueError) or
    DtypeError (a TypeError) before anything is written.
    """
    result = output(out, a, extent(a, 0), extent(w, 0))
    fault = on_stack(CLEAR)
    arrays = (describe(a), describe(w), describe(b), integer(activation), describe(result), describe(z))
    call(dense_forward_code(a), (*arrays, region(), fault))
    raise_fault(fault)
    return result


# ------------------------------------------------------------------------------------------------------ propagate_delta


@code_per_dtype
def propagate_delta_code(real):
    kind, size = kind_of_dtype(real), real.bitwidth // 8
    with_rows = row_maker(real)

    @inner
    def checked(d, weights, s, activation, c, fault):
        return (
            check_floats(fault, DELTA, d, 2, DELTA, kind)
            and check_floats(fault, W, weights, 2, DELTA, kind)
            and check_length(fault, W, 0, weights.rows, DELTA, d.columns)
            and check_activation(fault, activation)
            and ((activation == IDENTITY and s.kind == NOTHING) or check_floats(fault, STORED, s, 2, DELTA, kind))
            and (s.kind == NOTHING or check_shape(fault, STORED, s, d.rows, DELTA, weights.columns, W))
            and check_result(fault, OUT, c, DELTA, kind, d.rows, DELTA, weights.columns, W)
            and check_apart(fault, OUT, c, DELTA, d, size)
            and check_apart(fault, OUT, c, W, weights, size)
            and check_apart(fault, OUT, c, STORED, s, size)
        )

    @inner
    def propagate(d, weights, s, activation, c, region):
        finish, finish_args = 0, 0
        if activation != IDENTITY:
            finish = backward_pass(real, activation)
            finish_args = on_stack(Backward(0, 0, s.address, s.row_stride, 0))
        left = (d.address, d.row_stride, d.column_stride)
        right = (weights.address, weights.row_stride, weights.column_stride)
        sizes = (d.rows, weights.columns, d.columns)
        args = on_stack(Product(*left, *right, c.address, c.row_stride, *sizes, 0, finish, finish_args, 0, 0, 0, 0))
        call(multiply(real), (args, c.column_stride, region))

    @inner
    def propagate_with_copy(d, weights, s, activation, c, region, needed):
        room = np.empty(needed, np.uint8)
        propagate(d, weights, with_rows(s, address_of(room), True), activation, c, region)
        room[0] = 0  # its address does not keep it alive

    def propagate_delta_code(delta, w, stored, activation, out, region, fault):
        d, weights, s, c = fetch(Array, delta), fetch(Array, w), fetch(Array, stored), fetch(Array, out)
        if checked(d, weights, s, activation, c, fault):
            needed = bytes_of_rows(s, size)
            if needed == 0:
                propagate(d, weights, s, activation, c, region)
            else:
                propagate_with_copy(d, weights, s, activation, c, region, needed)
        return 0

    return propagate_delta_code


@kernel
def propagate_delta(delta, w, stored, activation, out=None):
    """(delta @ w) * activation'(stored): the errors of the layer before, from those of this one.

    delta (K, m), w (m, n), stored (K, n): float32 or float64, all of one dtype, any strides. activation: that of the layer
    before, one of `fb.Activation`; stored: what its derivative is computed from, its output or its pre-activation (see
    `activation_delta`), or None for the identity. out (K, n): overwritten, allocated when None; shares no memory
    with an input. Returns out. Raises ShapeError (a ValueError) or DtypeError (a TypeError) before anything is written.
    """
    result = output(out, delta, extent(delta, 0), extent(w, 1))
    fault = on_stack(CLEAR)
    arrays = (describe(delta), describe(w), describe(stored), integer(activation), describe(result))
    call(propagate_delta_code(delta), (*arrays, region(), fault))
    raise_fault(fault)
    return result


# -------------------------------------------------------------------------------------------------------- bias_gradient


class ColumnSums(NamedTuple):
    """sums (columns,) = or += the sums of the columns of x, whose rows are contiguous."""

    x: int
    x_stride: int
    rows: int
    columns: int
    sums: int
    accumulate: int


@code_per_dtype
def column_sums(real):
    """column_sums(args, part, parts): one chain of additions a column, in ascending row."""
    size, lanes = size_and_lanes(real)

    def column_sums(args, part, parts):
        p = fetch(ColumnSums, args)
        start, columns = share(p.columns, lanes, part, parts)
        for j in range(start, start + columns, 2 * lanes):
            n = start + columns - j  # no further: the columns after it are another part's
            kept = n if p.accumulate != 0 else 0
            left = load(p.sums + size * j, kept, real)
            right = load(p.sums + size * (j + lanes), max(kept - lanes, 0), real)
            for i in range(p.rows):
                place = p.x + i * p.x_stride + size * j
                left = left + load(place, n, real)
                right = right + load(place + size * lanes, max(n - lanes, 0), real)
            store(p.sums + size * j, left, n)
            store(p.sums + size * (j + lanes), right, max(n - lanes, 0))
        return 0

    return column_sums


@code_per_dtype
def bias_gradient_code(real):
    kind, size = kind_of_dtype(real), real.bitwidth // 8
    with_rows, copy = row_maker(real), copier(real)

    @inner
    def sum_rows(d, c, accumulate, region):
        args = on_stack(ColumnSums(d.address, d.row_stride, d.rows, d.columns, c.address, accumulate))
        share_out(region, column_sums(real), args, 8.0 * d.rows * d.columns)

    @inner
    def sum_copies(d, c, accumulate, region, needed):
        room = np.empty(needed, np.uint8)
        sums = with_rows(c, address_of(room) + bytes_of_rows(d, size), accumulate)
        sum_rows(with_rows(d, address_of(room), True), sums, accumulate, region)
        if sums.address != c.address:
            copy(c.address, c.row_stride, c.column_stride, sums.address, sums.row_stride, size, c.rows, c.columns)
        room[0] = 0  # its address does not keep it alive

    def bias_gradient_code(delta, out, accumulate, region, fault):
        d, c = fetch(Array, delta), fetch(Array, out)
        if (
            check_floats(fault, DELTA, d, 2, DELTA, kind)
            and check_floats(fault, OUT, c, 1, DELTA, kind)
            and check_length(fault, OUT, 0, c.rows, DELTA, d.columns)
            and check_output(fault, OUT, c)
            and check_apart(fault, OUT, c, DELTA, d, size)
            and check_flag(fault, ACCUMULATE, accumulate)
        ):
            c = as_row(c)
            needed = bytes_of_rows(d, size) + bytes_of_rows(c, size)
            if needed == 0:
                sum_rows(d, c, accumulate, region)
            else:
                sum_copies(d, c, accumulate, region, needed)
        return 0

    return bias_gradient_code


@kernel
def bias_gradient(delta, out=None, accumulate=False):
    """The column sums of delta: the sum over the minibatch of the bias gradients of its samples.

    delta (K, m): float32 or float64, any strides; K = 0 gives zeros. out (m,): overwritten, or added to when `accumulate`;
    allocated when None; shares no memory with delta. Returns out. Each sum is one chain of additions in ascending k.
    Raises ShapeError (a ValueError) or DtypeError (a TypeError) before anything is written.
    """
    grad_b = output_vector(out, delta, extent(delta, 1))
    fault = on_stack(CLEAR)
    adds = integer(accumulate) if out is not None else min(integer(accumulate), 0)  # nothing to add to
    call(bias_gradient_code(delta), (describe(delta), describe(grad_b), adds, region(), fault))
    raise_fault(fault)
    return grad_b
