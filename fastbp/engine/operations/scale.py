"""A trained factor for each column, as an operation of the table.

forward:  output = input * s
backward: input_delta = delta * s
gradient: grad_s[j] = sum over the rows k of delta[k, j] * input[k, j], one chain of fused multiply-adds in ascending k
"""

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.vector import fma, load, splat, store
from fastbp.engine.operations.base import input_of, operands, update_vector
from fastbp.kernels.activation_passes import size_and_lanes
from fastbp.parallel.parts import share


def multiplier(real):
    """multiply(target, its stride, source, its stride, factors, first, rows, columns): rows of source * factors."""
    size, lanes = size_and_lanes(real)

    @inner
    def multiply(target, target_stride, source, source_stride, factors, first, rows, columns):
        for i in range(first, first + rows):
            for j in range(0, columns, lanes):
                n, at = columns - j, size * j
                x = load(source + i * source_stride + at, n, real)
                store(target + i * target_stride + at, x * load(factors + at, n, real), n)

    return multiply


@code_per_dtype
def scale_forward(real):
    multiply = multiplier(real)

    def scale_forward(args, part, parts):
        _, t, o = operands(args)
        x, x_stride = input_of(t, o)
        first, rows = share(t.rows, 1, part, parts)
        multiply(o.output, o.output_stride, x, x_stride, o.parameters, first, rows, o.outputs)
        return 0

    return scale_forward


@code_per_dtype
def scale_backward(real):
    multiply = multiplier(real)

    def scale_backward(args, part, parts):
        _, t, o = operands(args)
        first, rows = share(t.rows, 1, part, parts)
        multiply(o.input_delta, o.input_delta_stride, o.delta, o.delta_stride, o.parameters, first, rows, o.outputs)
        return 0

    return scale_backward


@code_per_dtype
def scale_gradient(real):
    size, lanes = size_and_lanes(real)

    def scale_gradient(args, part, parts):
        _, t, o = operands(args)
        x, x_stride = input_of(t, o)
        sums = o.scratch if t.updates != 0 else o.gradients
        start, columns = share(o.outputs, lanes, part, parts)
        for j in range(start, start + columns, lanes):
            n, at, total = start + columns - j, size * j, splat(real, 0.0)
            for k in range(t.rows):
                total = fma(
                    load(o.delta + k * o.delta_stride + at, n, real), load(x + k * x_stride + at, n, real), total
                )
            store(sums + at, total, n)
        if t.updates != 0:
            update_vector(t, o.at, sums, o.outputs, False, size, lanes, part, parts)
        return 0

    return scale_gradient
