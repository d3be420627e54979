"""The dense layer as an operation of the table.

forward:  output = activation(input @ w.T + b)
backward: input_delta = (delta @ w) * below'(stored)
gradient: grad_w = delta.T @ input;  grad_b = column sums of delta;  or, where the step updates as it goes, each strip of
          them is handed to the optimizer while it is in L1, and never stored

A first layer's weights lie as w.T, (n, m), in C order, so that it never transposes: forward reads them row by row, and no delta
is propagated. Those of the others lie as w, (m, n).

Threads share the neurons wherever that costs little more than another share: what a neuron has, its weights, outputs and delta,
then stays in the cache of one core from forward over backward to the next step's forward.
"""

from typing import NamedTuple

from numba import types

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inlined
from fastbp.compiler.llvm import call, fetch, on_stack
from fastbp.engine.operations.base import input_of, operands, update_vector, updated
from fastbp.engine.table import AT_RAISED
from fastbp.gemm.driver import Product, product, work_bound
from fastbp.kernels.activation_passes import Backward, Forward, size_and_lanes
from fastbp.kernels.dense import ColumnSums, column_sums


class DenseOwn(NamedTuple):
    """A dense operation's own record. Its parameters are m n weights, then m biases if it has them."""

    by_input: int  # 1: the weights lie as (inputs, outputs), 0: as (outputs, inputs), in C order
    has_bias: int
    activation: int  # address of its forward pass; 0: none


def work_bytes(dtype: str, n: int, m: int, batch_size: int) -> int:
    """Return the bytes that each part of the operation's products packs into."""
    real, K = getattr(types, dtype), batch_size
    return max(work_bound(real, *sizes) for sizes in ((K, m, n), (m, n, K), (n, m, K), (K, n, m)))


@inlined
def weight_strides(o, own, size):
    """Return (bytes from the weights of one output to those of the next, the same for inputs)."""
    return (size, size * o.outputs) if own.by_input != 0 else (size * o.inputs, size)


@inlined
def bias_of(o, own, size):
    """Return the address of the biases; 0 without any."""
    return o.parameters + size * o.outputs * o.inputs if own.has_bias != 0 else 0


@code_per_dtype
def dense_forward(real):
    size = real.bitwidth // 8

    def dense_forward(args, part, parts):
        network, t, o = operands(args)
        own, (x, x_stride) = fetch(DenseOwn, o.own), input_of(t, o)
        finish_args = on_stack(Forward(0, 0, bias_of(o, own, size), o.z, o.z_stride, network + AT_RAISED))
        to_output, from_input = weight_strides(o, own, size)
        left, right, out = (x, x_stride, size), (o.parameters, from_input, to_output), (o.output, o.output_stride)
        sizes, work = (t.rows, o.outputs, o.inputs), (t.work, t.work_pitch)
        p = on_stack(Product(*left, *right, *out, *sizes, 0, own.activation, finish_args, *work, 1, 0))
        call(product(real), (p, part, parts))
        return 0

    return dense_forward


@code_per_dtype
def dense_backward(real):
    size = real.bitwidth // 8

    def dense_backward(args, part, parts):
        network, t, o = operands(args)
        if o.input_delta != 0 and (o.input != 0 or t.wants_input_delta != 0):
            own = fetch(DenseOwn, o.own)
            finish_args = on_stack(Backward(0, 0, o.below_stored, o.below_stored_stride, network + AT_RAISED))
            left, right = (o.delta, o.delta_stride, size), (o.parameters, *weight_strides(o, own, size))
            out, sizes = (o.input_delta, o.input_delta_stride), (t.rows, o.inputs, o.outputs)
            p = on_stack(Product(*left, *right, *out, *sizes, 0, o.below, finish_args, t.work, t.work_pitch, 1, 0))
            call(product(real), (p, part, parts))
        return 0

    return dense_backward


@code_per_dtype
def dense_gradient(real):
    size, lanes = size_and_lanes(real)

    def dense_gradient(args, part, parts):
        _, t, o = operands(args)
        own, (x, x_stride) = fetch(DenseOwn, o.own), input_of(t, o)
        work, rows, columns, across = (t.work, t.work_pitch), o.outputs, o.inputs, parts
        left, right = (o.delta, size, o.delta_stride), (x, x_stride, size)
        if own.by_input != 0:
            left, right = (x, size, x_stride), (o.delta, o.delta_stride, size)
            rows, columns, across = o.inputs, o.outputs, 1
        sizes, row = (rows, columns, t.rows), size * columns
        if t.updates != 0:
            weights = on_stack(updated(t, o.at, row, True))
            p = on_stack(
                Product(*left, *right, o.parameters, row, *sizes, 0, t.update_pass, weights, *work, across, t.strips)
            )
        else:
            p = on_stack(Product(*left, *right, o.gradients, row, *sizes, 0, 0, 0, *work, across, 0))
        call(product(real), (p, part, parts))
        if own.has_bias != 0:
            sums = o.scratch if t.updates != 0 else o.gradients + row * rows
            call(
                column_sums(real),
                (on_stack(ColumnSums(o.delta, o.delta_stride, t.rows, o.outputs, sums, 0)), part, parts),
            )
            if t.updates != 0:
                update_vector(t, o.at + row * rows, sums, o.outputs, False, size, lanes, part, parts)
        return 0

    return dense_gradient
