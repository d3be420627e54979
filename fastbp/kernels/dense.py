"""The four kernels of a dense layer: its output, and the products and sums of backpropagation."""

from typing import NamedTuple

from fastbp.compiler import arguments as arg
from fastbp.compiler import names
from fastbp.compiler.arrays import NOTHING, Array, as_row, describe, extent, kind_of_dtype, transposed
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.faults import CLEAR, raise_fault
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import call, fetch, on_stack
from fastbp.compiler.strided import on_rows
from fastbp.compiler.vector import load, store
from fastbp.gemm.multiply import multiply
from fastbp.kernels.activation_passes import Backward, Forward, backward_pass, forward_pass, size_and_lanes
from fastbp.kernels.activations import Activation, check_activation
from fastbp.kernels.operands import output, output_vector
from fastbp.parallel.parts import share
from fastbp.parallel.region import region
from fastbp.parallel.sharing import share_out

IDENTITY = Activation.IDENTITY


# ------------------------------------------------------------------------------------------------------ weight_gradient


@code_per_dtype
def weight_gradient_code(real):
    """weight_gradient_code(delta, a, out, accumulate, region, fault): check, then a product."""
    kind, size = kind_of_dtype(real), real.bitwidth // 8

    def weight_gradient_code(delta, a, out, accumulate, region, fault):
        d, x, g = fetch(Array, delta), fetch(Array, a), fetch(Array, out)
        if (
            arg.check_floats(fault, names.DELTA, d, 2, names.DELTA, kind)
            and arg.check_floats(fault, names.A, x, 2, names.DELTA, kind)
            and arg.check_length(fault, names.A, 0, x.rows, names.DELTA, d.rows)
            and arg.check_result(fault, names.OUT, g, names.DELTA, kind, d.columns, names.DELTA, x.columns, names.A)
            and arg.check_apart(fault, names.OUT, g, names.DELTA, d, size)
            and arg.check_apart(fault, names.OUT, g, names.A, x, size)
            and arg.check_flag(fault, names.ACCUMULATE, accumulate)
        ):
            call(multiply(real), (on_stack(transposed(d)), a, out, accumulate, 0, 0, region))
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
    adds = arg.integer(accumulate) if out is not None else min(arg.integer(accumulate), 0)  # nothing to add to
    call(weight_gradient_code(delta), (describe(delta), describe(a), describe(grad_w), adds, region(), fault))
    raise_fault(fault)
    return grad_w


# -------------------------------------------------------------------------------------------------------- dense_forward


@code_per_dtype
def dense_forward_code(real):
    """dense_forward_code(a, w, b, activation, out, z, region, fault): check, then a product with what follows it."""
    kind, size = kind_of_dtype(real), real.bitwidth // 8

    @inner
    def checked(x, weights, bias, activation, c, pre, fault):
        return (
            arg.check_floats(fault, names.A, x, 2, names.A, kind)
            and arg.check_floats(fault, names.W, weights, 2, names.A, kind)
            and arg.check_length(fault, names.W, 1, weights.columns, names.A, x.columns)
            and check_activation(fault, activation)
            and (bias.kind == NOTHING or arg.check_floats(fault, names.B, bias, 1, names.A, kind))
            and (bias.kind == NOTHING or arg.check_length(fault, names.B, 0, bias.rows, names.W, weights.rows))
            and arg.check_result(fault, names.OUT, c, names.A, kind, x.rows, names.A, weights.rows, names.W)
            and (
                pre.kind == NOTHING
                or arg.check_result(fault, names.Z, pre, names.A, kind, x.rows, names.A, weights.rows, names.W)
            )
            and arg.check_apart(fault, names.OUT, c, names.A, x, size)
            and arg.check_apart(fault, names.OUT, c, names.W, weights, size)
            and arg.check_apart(fault, names.OUT, c, names.B, bias, size)
            and arg.check_apart(fault, names.Z, pre, names.A, x, size)
            and arg.check_apart(fault, names.Z, pre, names.W, weights, size)
            and arg.check_apart(fault, names.Z, pre, names.B, bias, size)
            and arg.check_apart(fault, names.Z, pre, names.OUT, c, size)
        )

    @inner
    def forward(rows, a, w, activation, out, region):
        bias, pre = rows
        finish, finish_args = 0, 0
        if bias.kind != NOTHING or pre.kind != NOTHING or activation != IDENTITY:
            finish = forward_pass(real, activation)
            args = Forward(
                source=0, source_stride=0, bias=bias.address, z=pre.address, z_stride=pre.row_stride, raised=0
            )
            finish_args = on_stack(args)
        call(multiply(real), (a, w, out, 0, finish, finish_args, region))

    run = on_rows(real, forward, inputs=1, outputs=1)

    def dense_forward_code(a, w, b, activation, out, z, region, fault):
        x, weights, bias, c, pre = fetch(Array, a), fetch(Array, w), fetch(Array, b), fetch(Array, out), fetch(Array, z)
        if checked(x, weights, bias, activation, c, pre, fault):
            run((as_row(bias), pre), a, on_stack(transposed(weights)), activation, out, region)
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
    arrays = (describe(a), describe(w), describe(b), arg.integer(activation), describe(result), describe(z))
    call(dense_forward_code(a), (*arrays, region(), fault))
    raise_fault(fault)
    return result


# ------------------------------------------------------------------------------------------------------ propagate_delta


@code_per_dtype
def propagate_delta_code(real):
    """propagate_delta_code(delta, w, stored, activation, out, region, fault): check, then a product with what follows it."""
    kind, size = kind_of_dtype(real), real.bitwidth // 8

    @inner
    def checked(d, weights, s, activation, c, fault):
        return (
            arg.check_floats(fault, names.DELTA, d, 2, names.DELTA, kind)
            and arg.check_floats(fault, names.W, weights, 2, names.DELTA, kind)
            and arg.check_length(fault, names.W, 0, weights.rows, names.DELTA, d.columns)
            and check_activation(fault, activation)
            and (
                (activation == IDENTITY and s.kind == NOTHING)
                or arg.check_floats(fault, names.STORED, s, 2, names.DELTA, kind)
            )
            and (
                s.kind == NOTHING
                or arg.check_shape(fault, names.STORED, s, d.rows, names.DELTA, weights.columns, names.W)
            )
            and arg.check_result(fault, names.OUT, c, names.DELTA, kind, d.rows, names.DELTA, weights.columns, names.W)
            and arg.check_apart(fault, names.OUT, c, names.DELTA, d, size)
            and arg.check_apart(fault, names.OUT, c, names.W, weights, size)
            and arg.check_apart(fault, names.OUT, c, names.STORED, s, size)
        )

    @inner
    def propagate(rows, delta, w, activation, out, region):
        (s,) = rows
        finish, finish_args = 0, 0
        if activation != IDENTITY:
            finish = backward_pass(real, activation)
            args = Backward(source=0, source_stride=0, stored=s.address, stored_stride=s.row_stride, raised=0)
            finish_args = on_stack(args)
        call(multiply(real), (delta, w, out, 0, finish, finish_args, region))

    run = on_rows(real, propagate, inputs=1, outputs=0)

    def propagate_delta_code(delta, w, stored, activation, out, region, fault):
        d, weights, s, c = fetch(Array, delta), fetch(Array, w), fetch(Array, stored), fetch(Array, out)
        if checked(d, weights, s, activation, c, fault):
            run((s,), delta, w, activation, out, region)
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
    arrays = (describe(delta), describe(w), describe(stored), arg.integer(activation), describe(result))
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
    """bias_gradient_code(delta, out, accumulate, region, fault): check, then column_sums."""
    kind, size = kind_of_dtype(real), real.bitwidth // 8

    @inner
    def sum_rows(rows, accumulate, region):
        d, sums = rows
        columns = ColumnSums(
            x=d.address, x_stride=d.row_stride, rows=d.rows, columns=d.columns, sums=sums.address, accumulate=accumulate
        )
        share_out(region, column_sums(real), on_stack(columns), 8.0 * d.rows * d.columns)

    run = on_rows(real, sum_rows, inputs=2, outputs=1)

    def bias_gradient_code(delta, out, accumulate, region, fault):
        d, c = fetch(Array, delta), fetch(Array, out)
        if (
            arg.check_floats(fault, names.DELTA, d, 2, names.DELTA, kind)
            and arg.check_floats(fault, names.OUT, c, 1, names.DELTA, kind)
            and arg.check_length(fault, names.OUT, 0, c.rows, names.DELTA, d.columns)
            and arg.check_output(fault, names.OUT, c)
            and arg.check_apart(fault, names.OUT, c, names.DELTA, d, size)
            and arg.check_flag(fault, names.ACCUMULATE, accumulate)
        ):
            run((d, as_row(c)), accumulate, region)
        return 0

    return bias_gradient_code


@kernel
def bias_gradient(delta, out=None, accumulate=False):
    """Return the column sums of delta: the sum over the minibatch of the bias gradients of its samples.

    delta (K, m): float32 or float64, any strides; K = 0 gives zeros. out (m,): overwritten, or added to when `accumulate`;
    allocated when None; shares no memory with delta. Returns out. Each sum is one chain of additions in ascending k.
    Raises ShapeError (a ValueError) or DtypeError (a TypeError) before anything is written.
    """
    grad_b = output_vector(out, delta, extent(delta, 1))
    fault = on_stack(CLEAR)
    adds = arg.integer(accumulate) if out is not None else min(arg.integer(accumulate), 0)  # nothing to add to
    call(bias_gradient_code(delta), (describe(delta), describe(grad_b), adds, region(), fault))
    raise_fault(fault)
    return grad_b
