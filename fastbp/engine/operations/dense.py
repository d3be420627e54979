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

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import call, fetch, on_stack
from fastbp.engine.table import AT_RAISED, Call, Network, Operation
from fastbp.gemm.driver import Product, product, share
from fastbp.kernels.activation_passes import Backward, Forward, size_and_lanes
from fastbp.kernels.dense import ColumnSums, column_sums
from fastbp.kernels.update_rules import CONSTANTS_BYTES, Updated


@inner
def weight_strides(o, size):
    """(bytes from the weights of one output to those of the next, the same for inputs)."""
    return (size, size * o.outputs) if o.by_input != 0 else (size * o.inputs, size)


@code_per_dtype
def dense_forward(real):
    size = real.bitwidth // 8

    def dense_forward(args, part, parts):
        c = fetch(Call, args)
        t, o = fetch(Network, c.network), fetch(Operation, c.operation)
        x, x_stride = (t.x, t.x_stride) if o.input == 0 else (o.input, o.input_stride)
        finish_args = on_stack(Forward(0, 0, o.bias, o.z, o.z_stride, c.network + AT_RAISED))
        to_output, from_input = weight_strides(o, size)
        left, right, out = (x, x_stride, size), (o.weights, from_input, to_output), (o.output, o.output_stride)
        sizes, work = (t.rows, o.outputs, o.inputs), (t.work, t.work_pitch)
        p = on_stack(Product(*left, *right, *out, *sizes, 0, o.activation, finish_args, *work, 1, 0))
        call(product(real), (p, part, parts))
        return 0

    return dense_forward


@code_per_dtype
def dense_backward(real):
    size = real.bitwidth // 8

    def dense_backward(args, part, parts):
        c = fetch(Call, args)
        t, o = fetch(Network, c.network), fetch(Operation, c.operation)
        if o.input_delta != 0 and (o.input != 0 or t.wants_input_delta != 0):
            finish_args = on_stack(Backward(0, 0, o.below_stored, o.below_stored_stride, c.network + AT_RAISED))
            left, right = (o.delta, o.delta_stride, size), (o.weights, *weight_strides(o, size))
            out, sizes = (o.input_delta, o.input_delta_stride), (t.rows, o.inputs, o.outputs)
            finish = (o.adds_input_delta, o.below, finish_args)
            p = on_stack(Product(*left, *right, *out, *sizes, *finish, t.work, t.work_pitch, 1, 0))
            call(product(real), (p, part, parts))
        return 0

    return dense_backward


@inner
def updated(t, o, at, stride, biases):
    """The Updated of an operation's weights, or of its biases, which do not decay."""
    m, v = t.m + at if t.m != 0 else 0, t.v + at if t.v != 0 else 0
    decay = 0.0 if biases else t.weight_decay
    constants = t.constants + CONSTANTS_BYTES if biases else t.constants
    return Updated(t.parameters + at, m, v, stride, constants, decay, 1.0, t.clip_value)


@code_per_dtype
def dense_gradient(real):
    size, lanes = size_and_lanes(real)

    def dense_gradient(args, part, parts):
        c = fetch(Call, args)
        t, o = fetch(Network, c.network), fetch(Operation, c.operation)
        x, x_stride = (t.x, t.x_stride) if o.input == 0 else (o.input, o.input_stride)
        work, rows, columns, across = (t.work, t.work_pitch), o.outputs, o.inputs, parts
        left, right = (o.delta, size, o.delta_stride), (x, x_stride, size)
        if o.by_input != 0:
            left, right = (x, size, x_stride), (o.delta, o.delta_stride, size)
            rows, columns, across = o.inputs, o.outputs, 1
        sizes, row = (rows, columns, t.rows), size * columns
        if t.updates != 0:
            weights = on_stack(updated(t, o, o.at, row, False))
            p = on_stack(
                Product(*left, *right, o.weights, row, *sizes, 0, t.update_pass, weights, *work, across, t.strips)
            )
        else:
            p = on_stack(Product(*left, *right, o.grad_w, row, *sizes, 0, 0, 0, *work, across, 0))
        call(product(real), (p, part, parts))
        if o.bias != 0:
            sums = o.bias_sums if t.updates != 0 else o.grad_b
            call(
                column_sums(real),
                (on_stack(ColumnSums(o.delta, o.delta_stride, t.rows, o.outputs, sums, 0)), part, parts),
            )
            if t.updates != 0:
                start, columns = share(o.outputs, lanes, part, parts)
                biases = on_stack(updated(t, o, o.at + row * rows, 0, True))
                call(t.update_pass, (biases, sums + size * start, 0, 0, start, 1, columns))
        return 0

    return dense_gradient
