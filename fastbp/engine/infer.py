"""Evaluation and prediction over the rows of a Slice, without training; code compiled once a dtype."""

from fastbp.compiler.arrays import Array
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.llvm import call, fetch, put
from fastbp.compiler.strided import copier
from fastbp.engine.cost import cost_evaluator
from fastbp.engine.minibatch import minibatch_loader
from fastbp.engine.slices import Slice, in_a_team
from fastbp.engine.table import Network
from fastbp.engine.walk import forward, has_raised, last_operation


@code_per_dtype
def evaluate_rows(real):
    """evaluate_rows(args, region): add up the cost over the rows of the Slice at `args`."""
    load_rows, cost = minibatch_loader(real), cost_evaluator(real)

    def evaluate_rows(args, region):
        s = fetch(Slice, args)
        batch_size = fetch(Network, s.network).batch_size
        total, total_weight = s.cost, s.weight
        put(args, Slice, "stopped", -1)
        for first in range(s.first, s.last, batch_size):
            load_rows(args, first, min(batch_size, s.last - first), False, region)
            call(forward(real), (s.network, 0, region))
            wrong, batch_cost, batch_weight = cost(s, fetch(Network, s.network), first, False)
            if wrong != 0 or has_raised(s.network):
                put(args, Slice, "stopped", first)
                break
            total, total_weight = total + batch_cost, total_weight + batch_weight
        put(args, Slice, "cost", total)
        put(args, Slice, "weight", total_weight)
        return 0

    return evaluate_rows


@code_per_dtype
def predict_rows(real):
    """predict_rows(args, region): write the outputs for the rows of the Slice at `args` into the Array at its `out`."""
    size, load_rows, copy = real.bitwidth // 8, minibatch_loader(real), copier(real)

    def predict_rows(args, region):
        s = fetch(Slice, args)
        t = fetch(Network, s.network)
        out, o = fetch(Array, s.out), last_operation(t)
        for first in range(s.first, s.last, t.batch_size):
            rows = min(t.batch_size, s.last - first)
            load_rows(args, first, rows, False, region)
            call(forward(real), (s.network, 0, region))
            if has_raised(s.network):
                break
            place = out.address + first * out.row_stride
            copy(place, out.row_stride, out.column_stride, o.output, o.output_stride, size, rows, o.outputs)
        return 0

    return predict_rows


@code_per_dtype
def evaluate_slice(real):
    """evaluate_slice(args, region): `evaluate_rows`, in a team where that saves time."""
    return in_a_team(evaluate_rows, 1.0)(real)


@code_per_dtype
def predict_slice(real):
    """predict_slice(args, region): `predict_rows`, in a team where that saves time."""
    return in_a_team(predict_rows, 1.0)(real)
