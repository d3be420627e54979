"""The dense layer as an operation of the table.

forward:  output = activation(input @ w.T + b)
backward: grad_w = delta.T @ input;  grad_b = column sums of delta;  input_delta = (delta @ w) * below'(stored)
"""

from fastbp._code import code_per_dtype
from fastbp._llvm import call, fetch, on_stack
from fastbp.engine.table import Call, Network, Operation
from fastbp.gemm.driver import Product, product
from fastbp.kernels.dense import ColumnSums, column_sums
from fastbp.kernels.passes import Backward, Forward


@code_per_dtype
def dense_forward(real):
    size = real.bitwidth // 8

    def dense_forward(args, part, parts):
        c = fetch(Call, args)
        t, o = fetch(Network, c.network), fetch(Operation, c.operation)
        x, x_stride = (t.x, t.x_stride) if o.input == 0 else (o.input, o.input_stride)
        finish_args = on_stack(Forward(0, 0, o.bias, o.z, o.z_stride))
        left, right, out = (x, x_stride, size), (o.weights, size, size * o.inputs), (o.output, o.output_stride)
        sizes, work = (t.rows, o.outputs, o.inputs), (t.work, t.work_pitch)
        p = on_stack(Product(*left, *right, *out, *sizes, 0, o.activation, finish_args, *work))
        call(product(real), (p, part, parts))
        return 0

    return dense_forward


@code_per_dtype
def dense_backward(real):
    size = real.bitwidth // 8

    def dense_backward(args, part, parts):
        c = fetch(Call, args)
        t, o = fetch(Network, c.network), fetch(Operation, c.operation)
        x, x_stride = (t.x, t.x_stride) if o.input == 0 else (o.input, o.input_stride)
        work = (t.work, t.work_pitch)
        # grad_w = delta.T @ input
        left, right, out = (o.delta, size, o.delta_stride), (x, x_stride, size), (o.grad_w, size * o.inputs)
        sizes = (o.outputs, o.inputs, t.rows)
        p = on_stack(Product(*left, *right, *out, *sizes, 0, 0, 0, *work))
        call(product(real), (p, part, parts))
        if o.bias != 0:
            sums = on_stack(ColumnSums(o.delta, o.delta_stride, t.rows, o.outputs, o.grad_b, 0))
            call(column_sums(real), (sums, part, parts))
        if o.input_delta != 0 and (o.input != 0 or t.wants_input_delta != 0):
            # input_delta = (delta @ w) * below'(stored)
            finish_args = on_stack(Backward(0, 0, o.below_stored, o.below_stored_stride))
            left, right = (o.delta, o.delta_stride, size), (o.weights, size * o.inputs, size)
            out, sizes = (o.input_delta, o.input_delta_stride), (t.rows, o.inputs, o.outputs)
            p = on_stack(Product(*left, *right, *out, *sizes, o.adds_input_delta, o.below, finish_args, *work))
            call(product(real), (p, part, parts))
        return 0

    return dense_backward
