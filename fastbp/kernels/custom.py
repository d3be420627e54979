"""Functions of the user's as compiled code calls them: the passes of an activation, and a cost.

What a function raises is noted in the Raised of the arguments, and raised where the call of fastbp ends.
"""

from collections.abc import Callable
from typing import Any

from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import array_at, fetch, put, read, write
from fastbp.compiler.raised import noting
from fastbp.kernels.activation_passes import Backward, Forward
from fastbp.kernels.loss_arguments import LossArguments


def custom_passes(real: Any, f: Callable, derivative: Callable) -> tuple[Callable, Callable]:
    """Return the forward and the backward pass of `kernels.activation_passes`, for functions of one number."""
    size = real.bitwidth // 8

    @inner
    def activate(args, c, crs, row, column, rows, columns):  # pragma: no cover (compiled)
        p = fetch(Forward, args)
        for i in range(rows):
            for j in range(columns):
                place = c + i * crs + size * j
                source = place if p.source == 0 else p.source + (row + i) * p.source_stride + size * (column + j)
                x = read(source, real)
                if p.bias != 0:
                    x = x + read(p.bias + size * (column + j), real)
                if p.z != 0:
                    write(p.z + (row + i) * p.z_stride + size * (column + j), x)
                write(place, real(f(x)))

    @inner
    def differentiate(args, c, crs, row, column, rows, columns):  # pragma: no cover (compiled)
        p = fetch(Backward, args)
        for i in range(rows):
            for j in range(columns):
                place = c + i * crs + size * j
                source = place if p.source == 0 else p.source + (row + i) * p.source_stride + size * (column + j)
                stored = read(p.stored + (row + i) * p.stored_stride + size * (column + j), real)
                write(place, read(source, real) * real(derivative(stored)))

    def forward(args, c, crs, row, column, rows, columns):  # pragma: no cover (compiled)
        noting(fetch(Forward, args).raised, activate, (args, c, crs, row, column, rows, columns))
        return 0

    def backward(args, c, crs, row, column, rows, columns):  # pragma: no cover (compiled)
        noting(fetch(Backward, args).raised, differentiate, (args, c, crs, row, column, rows, columns))
        return 0

    return forward, backward


def custom_cost(real: Any, cost_row: Callable, delta_row: Callable) -> Callable:
    """Return the cost of `kernels.loss_formulas`, for functions of one sample."""
    size = real.bitwidth // 8

    @inner
    def add_rows(args):  # pragma: no cover (compiled)
        b = fetch(LossArguments, args)
        total, total_weight = 0.0, 0.0
        for k in range(b.rows):
            total_weight += 1.0 if b.weights == 0 else read(b.weights + size * k, real)
        for k in range(b.rows):
            weight = 1.0 if b.weights == 0 else read(b.weights + size * k, real)
            output = array_at(b.z + k * b.z_stride, (b.columns,), 0, real)
            y = array_at(b.y + k * b.y_row_stride, (b.columns,), 0, real)
            total += b.scale * weight * cost_row(output, y)
            if b.delta != 0:
                delta = array_at(b.delta + k * b.delta_stride, (b.columns,), 0, real)
                delta_row(output, y, delta)
                for j in range(b.columns):
                    delta[j] *= b.scale * weight / total_weight if total_weight != 0 else 0.0
        put(args, LossArguments, "cost", total)
        put(args, LossArguments, "weight", total_weight)

    def cost(args):  # pragma: no cover (compiled)
        noting(fetch(LossArguments, args).raised, add_rows, (args,))
        return 0

    return cost
