"""Steps over the rows of a Slice: of training, of evaluation, of prediction; code compiled once a dtype.

A step of training is

    minibatch -> forward -> cost and its delta -> backward -> update

of which `walk.py` has what goes over the table.
"""

import functools
from typing import NamedTuple

import numpy as np

from fastbp.compiler.arguments import NOTHING, Array, kind_of_dtype
from fastbp.compiler.code import code, code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import call, fetch, on_stack, read, write
from fastbp.engine.minibatch import FLOPS_PER_ELEMENT as GATHER_FLOPS
from fastbp.engine.minibatch import INT64_KIND, Gather, gather_labels, gather_rows
from fastbp.engine.table import (
    AT_RAISED,
    COST,
    MINIBATCH,
    NETWORK,
    OPERATION_BYTES,
    STEP,
    UPDATE,
    Network,
    Operation,
)
from fastbp.engine.walk import (
    backward,
    begin_update,
    count,
    forward,
    has_raised,
    last_operation,
    now,
    take_back_forward,
    update,
)
from fastbp.gemm.pack import copier
from fastbp.kernels.clipping import square_maker
from fastbp.kernels.loss_formulas import AT_COST as AT_LOSS_COST
from fastbp.kernels.loss_formulas import AT_WEIGHT as AT_LOSS_WEIGHT
from fastbp.kernels.loss_formulas import Loss
from fastbp.parallel.pace import pace_of
from fastbp.parallel.region import threads_now
from fastbp.parallel.sharing import SERIAL_BELOW, lead_at_pace, most_parts, share_out, shareable

AT_X, AT_X_STRIDE, AT_ROWS, AT_WANTS, AT_PENALTIES, AT_WEIGHT_DECAY = (
    NETWORK[name] for name in ("x", "x_stride", "rows", "wants_input_delta", "penalties", "weight_decay")
)


class Slice(NamedTuple):
    """Rows `first` to `last` of an epoch, or of data to evaluate or predict; what comes back is written into it."""

    network: int
    x: int  # addresses of Arrays
    y: int
    weights: int  # of the samples; an Array of kind NOTHING for none
    order: int  # address of int64 row numbers; 0: the rows as they lie
    order_stride: int
    first: int
    last: int
    rates: int  # address of a float64 learning rate for each step; 0: as it is
    out: int  # of predictions: the address of an Array
    cost: float  # the sum of w_k c_k is added to it, so that bits do not depend on how an epoch was cut into slices
    weight: float  # the sum of w_k is added to it
    # comes back: the first row of the minibatch whose cost is not finite, whose labels are wrong, or which made a function
    # of the user's raise; -1
    stopped: int


SLICE = {name: 8 * i for i, name in enumerate(Slice._fields)}
AT_COST, AT_WEIGHT, AT_STOPPED, AT_FIRST, AT_LAST, AT_RATES = (
    SLICE[name] for name in ("cost", "weight", "stopped", "first", "last", "rates")
)
CHUNK_NANOSECONDS = 2_000_000  # what a team is opened for: some hundred times what that costs


def in_a_team(rows_code, passes):
    """Code (args, region) that runs `rows_code` on the Slice at `args`, in a team where that saves time; `passes`: what
    it does of a step, in forward passes."""

    def make(real):
        def slice_code(args, region):
            s = fetch(Slice, args)
            t = fetch(Network, s.network)
            threads = team_size(t, min(s.last - s.first, t.batch_size), passes * t.flops * (s.last - s.first), region)
            if threads > 1:
                call(run_chunks(), (args, rows_code(real), threads, region))
            else:
                call(rows_code(real), (args, 0))
            return 0

        return slice_code

    return make


@code
def run_chunks(args, rows_code, threads, region):
    """run_chunks(args, rows_code, threads, region): the Slice at `args`, in chunks that are short enough to see what sharing
    brings while it goes on."""
    s = fetch(Slice, args)
    t = fetch(Network, s.network)
    pace = pace_of_network(rows_code, s.network, min(s.last - s.first, t.batch_size), t.flops)
    first, count = s.first, 1
    write(args + AT_STOPPED, -1)
    while first < s.last and read(args + AT_STOPPED, np.int64) < 0 and not has_raised(s.network):
        last = min(first + count * t.batch_size, s.last)
        write(args + AT_FIRST, first)
        write(args + AT_LAST, last)
        if s.rates != 0:
            write(args + AT_RATES, s.rates + 8 * ((first - s.first) // t.batch_size))
        took = lead_at_pace(pace, last - first, t.team, threads, rows_code, args, region)
        count = max(1, min(4 * count, count * CHUNK_NANOSECONDS // max(took, 1)))
        first = last
    write(args + AT_FIRST, s.first)
    write(args + AT_LAST, s.last)
    write(args + AT_RATES, s.rates)
    return 0


@inner
def pace_of_network(code, network, rows, flops):
    """The Pace of a code that goes over minibatches of so many rows, `flops` operations each."""
    return call(pace_of(), (code ^ network, rows, 0, 0, int(flops * rows)))


@inner
def team_size(t, rows, flops, region):
    """How many threads are of use to minibatches of so many rows, in so many floating-point operations altogether."""
    if region == 0 or flops < SERIAL_BELOW:
        return 1
    return min(threads_now(region), most_parts(shareable(t.largest_flops, rows)))


@functools.cache  # compiled once for all that use it
def minibatch_loader(real):
    """load_rows(args, first, rows, copies, region): make those rows of x of the Slice at `args` the network's minibatch, as
    they lie where compiled code can read them so, unless it `copies`."""
    size, kind = real.bitwidth // 8, kind_of_dtype(real)

    @inner
    def load_rows(args, first, rows, copies, region):
        s = fetch(Slice, args)
        t, x = fetch(Network, s.network), fetch(Array, s.x)
        place, stride = x.address + first * x.row_stride, x.row_stride
        if copies or s.order != 0 or x.kind != kind or (x.column_stride != size and x.columns > 1):
            place, stride = t.x_buffer, t.x_buffer_stride
            gathered = on_stack(Gather(place, stride, s.x, s.order, s.order_stride, first, rows, s.last))
            share_out(region, gather_rows(real), gathered, GATHER_FLOPS * rows * x.columns)
        write(s.network + AT_X, place)
        write(s.network + AT_X_STRIDE, stride)
        write(s.network + AT_ROWS, rows)

    return load_rows


@functools.cache  # compiled once for all that use it
def cost_evaluator(real):
    """cost(s, t, first, wants_delta), of rows of the Slice s: 0, or 1 + the row of a wrong label; the cost of the
    minibatch's output and the sum of its weights; and, if wanted, the delta of the last operation."""
    size, kind = real.bitwidth // 8, kind_of_dtype(real)

    @inner
    def cost(s, t, first, wants_delta):
        o, y, weights = last_operation(t), fetch(Array, s.y), fetch(Array, s.weights)
        rows = (s.order, s.order_stride, first, t.rows, 0)
        labels = t.takes_labels != 0 and y.ndim == 1
        if labels:
            gather_labels(t.y_buffer, y, s.order, s.order_stride, first, t.rows)
        else:
            call(gather_rows(real), (on_stack(Gather(t.y_buffer, t.y_buffer_stride, s.y, *rows)), 0, 1))
        if weights.kind != NOTHING:
            call(gather_rows(real), (on_stack(Gather(t.weight_buffer, size, s.weights, *rows)), 0, 1))
        targets = (t.y_buffer, kind, t.y_buffer_stride)
        if labels:
            targets = (t.y_buffer, INT64_KIND, 8)
        sample_weights = t.weight_buffer if weights.kind != NOTHING else 0
        delta = o.delta if wants_delta else 0
        sizes = (t.rows, o.outputs)
        args = on_stack(
            Loss(
                o.output,
                o.output_stride,
                *targets,
                sample_weights,
                delta,
                o.delta_stride,
                *sizes,
                t.loss_parameter,
                t.loss_scale,
                0,
                0,
                s.network + AT_RAISED,
            )
        )
        wrong = call(t.loss, (args,))
        return wrong, read(args + AT_LOSS_COST, np.float64), read(args + AT_LOSS_WEIGHT, np.float64)

    return cost


@functools.cache  # compiled once for all that use it
def penaliser(real):
    """penalise(network, t, weight, region): add the penalty on the weights of a minibatch, the sum of whose sample weights is
    `weight`, to the network's `penalties`, and make its derivative the step's weight decay."""
    square_of = square_maker(real)

    @inner
    def penalise(network, t, weight, region):
        total = 0.0
        for i in range(t.length):
            o = fetch(Operation, t.operations + i * OPERATION_BYTES)
            if o.weight_count > 0:
                total += square_of(o.weights, o.weight_count, region)
        write(network + AT_PENALTIES, read(network + AT_PENALTIES, np.float64) + 0.5 * t.penalty * total)
        write(network + AT_WEIGHT_DECAY, t.penalty / weight if weight != 0 else 0.0)

    return penalise


@code_per_dtype
def train_rows(real):
    """train_rows(args, region): steps over the rows of the Slice at `args`; stops before an update whose cost is not finite,
    or on the way to which something was raised."""
    load_rows, cost, penalise = minibatch_loader(real), cost_evaluator(real), penaliser(real)

    def train_rows(args, region):
        s = fetch(Slice, args)
        t = fetch(Network, s.network)
        total, total_weight, step = s.cost, s.weight, 0
        write(args + AT_STOPPED, -1)
        for first in range(s.first, s.last, t.batch_size):
            began_step = began = now(t)
            load_rows(args, first, min(t.batch_size, s.last - first), False, region)
            count(t, t.length, MINIBATCH, began)
            call(forward(real), (s.network, 1, region))
            began = now(t)
            wrong, batch_cost, batch_weight = cost(s, fetch(Network, s.network), first, True)
            count(t, t.length, COST, began)
            if wrong != 0 or not np.isfinite(batch_cost) or has_raised(s.network):
                write(args + AT_STOPPED, first)
                break
            if s.rates != 0:
                write(t.learning_rate, read(s.rates + 8 * step, np.float64))
            if t.penalty != 0:
                penalise(s.network, t, batch_weight, region)
            if t.fuses != 0:
                call(begin_update(real), (s.network,))
            call(backward(real), (s.network, t.fuses, region))
            if has_raised(s.network):  # a network with functions of the user's does not fuse
                write(args + AT_STOPPED, first)
                break
            if t.fuses == 0:
                began = now(t)
                call(update(real), (s.network, region))
                count(t, t.length, UPDATE, began)
            total, total_weight, step = total + batch_cost, total_weight + batch_weight, step + 1
            count(t, t.length, STEP, began_step)
        if has_raised(s.network):
            take_back_forward(t)
        write(args + AT_COST, total)
        write(args + AT_WEIGHT, total_weight)
        return 0

    return train_rows


@code_per_dtype
def evaluate_rows(real):
    """evaluate_rows(args, region): the cost over the rows of the Slice at `args`, without training."""
    load_rows, cost = minibatch_loader(real), cost_evaluator(real)

    def evaluate_rows(args, region):
        s = fetch(Slice, args)
        batch_size = fetch(Network, s.network).batch_size
        total, total_weight = s.cost, s.weight
        write(args + AT_STOPPED, -1)
        for first in range(s.first, s.last, batch_size):
            load_rows(args, first, min(batch_size, s.last - first), False, region)
            call(forward(real), (s.network, 0, region))
            wrong, batch_cost, batch_weight = cost(s, fetch(Network, s.network), first, False)
            if wrong != 0 or has_raised(s.network):
                write(args + AT_STOPPED, first)
                break
            total, total_weight = total + batch_cost, total_weight + batch_weight
        write(args + AT_COST, total)
        write(args + AT_WEIGHT, total_weight)
        return 0

    return evaluate_rows


@code_per_dtype
def predict_rows(real):
    """predict_rows(args, region): the outputs for the rows of the Slice at `args`, into the Array at its `out`."""
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
def train_slice(real):
    return in_a_team(train_rows, 3.0)(real)


@code_per_dtype
def evaluate_slice(real):
    return in_a_team(evaluate_rows, 1.0)(real)


@code_per_dtype
def predict_slice(real):
    return in_a_team(predict_rows, 1.0)(real)


@code_per_dtype
def forward_rows(real):
    """forward_rows(args, region): one forward pass of training over the rows of a Slice; outputs as predict_rows."""
    size, load_rows, copy = real.bitwidth // 8, minibatch_loader(real), copier(real)

    def forward_rows(args, region):
        s = fetch(Slice, args)
        out = fetch(Array, s.out)
        load_rows(args, s.first, s.last - s.first, True, region)  # the backward pass reads them, when x may be gone
        call(forward(real), (s.network, 1, region))
        t = fetch(Network, s.network)
        if has_raised(s.network):
            take_back_forward(t)
            write(s.network + AT_ROWS, 0)  # no backward pass may follow
            return 0
        o = last_operation(t)
        rows = s.last - s.first
        copy(out.address, out.row_stride, out.column_stride, o.output, o.output_stride, size, rows, o.outputs)
        return 0

    return forward_rows


@code_per_dtype
def forward_minibatch(real):
    return in_a_team(forward_rows, 1.0)(real)


class Deltas(NamedTuple):
    """What a backward pass by hand is given: addresses of Arrays."""

    network: int
    delta: int
    input_delta: int  # 0: not wanted


@code_per_dtype
def backward_rows(real):
    """backward_rows(args, region): all gradients from the Deltas at `args`."""
    size, copy = real.bitwidth // 8, copier(real)

    def backward_rows(args, region):
        given = fetch(Deltas, args)
        t, d = fetch(Network, given.network), fetch(Array, given.delta)
        o = last_operation(t)
        copy(o.delta, o.delta_stride, size, d.address, d.row_stride, d.column_stride, t.rows, o.outputs)
        write(given.network + AT_WANTS, 1 if given.input_delta != 0 else 0)
        call(backward(real), (given.network, 0, region))
        if given.input_delta != 0:
            first, out = fetch(Operation, t.operations), fetch(Array, given.input_delta)
            source, stride = first.input_delta, first.input_delta_stride
            copy(out.address, out.row_stride, out.column_stride, source, stride, size, t.rows, t.inputs)
        write(given.network + AT_WANTS, 0)
        return 0

    return backward_rows


@code_per_dtype
def backward_minibatch(real):
    """backward_minibatch(network, delta, input_delta, region): all gradients from dC/d(output), an Array of the rows of
    the last forward pass; dC/dx into the Array at `input_delta`, unless that is 0."""

    def backward_minibatch(network, delta, input_delta, region):
        t, args = fetch(Network, network), on_stack(Deltas(network, delta, input_delta))
        threads = team_size(t, t.rows, 2.0 * t.flops * t.rows, region)
        if threads > 1:
            pace = pace_of_network(backward_rows(real), network, t.rows, t.flops)
            lead_at_pace(pace, t.rows, t.team, threads, backward_rows(real), args, region)
        else:
            call(backward_rows(real), (args, 0))
        return 0

    return backward_minibatch
