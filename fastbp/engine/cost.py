"""The cost of a minibatch's output, its derivative, and the penalty on the weights."""

import functools

from fastbp.compiler.arrays import NOTHING, Array, kind_of_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import call, fetch, get, on_stack, place_of, put
from fastbp.engine.minibatch import INT64_KIND, Gather, gather_labels, gather_rows
from fastbp.engine.table import OPERATION_BYTES, Network, Operation
from fastbp.engine.walk import last_operation
from fastbp.kernels.clipping import square_maker
from fastbp.kernels.loss_arguments import LossArguments


@functools.cache  # compiled once for all that use it
def cost_evaluator(real):
    """Make cost(s, t, first, wants_delta), which takes the minibatch from row `first` of the Slice s. It returns 0, or 1 +
    the row of a wrong label; the cost of the minibatch's output; and the sum of its weights. If wanted it leaves the delta
    of the last operation."""
    size, kind = real.bitwidth // 8, kind_of_dtype(real)

    @inner
    def gather(s, x, first, rows, target, stride):
        """Copy rows of the Array at x to `target`, on this thread."""
        block = Gather(
            target=target,
            stride=stride,
            x=x,
            order=s.order,
            order_stride=s.order_stride,
            first=first,
            rows=rows,
            last=0,
        )
        call(gather_rows(real), (on_stack(block), 0, 1))

    @inner
    def cost(s, t, first, wants_delta):
        o, y, weights = last_operation(t), fetch(Array, s.y), fetch(Array, s.weights)
        labels = t.takes_labels != 0 and y.ndim == 1
        if labels:
            gather_labels(t.y_buffer, y, s.order, s.order_stride, first, t.rows)
        else:
            gather(s, s.y, first, t.rows, t.y_buffer, t.y_buffer_stride)
        if weights.kind != NOTHING:
            gather(s, s.weights, first, t.rows, t.weight_buffer, size)
        args = on_stack(
            LossArguments(
                z=o.output,
                z_stride=o.output_stride,
                y=t.y_buffer,
                y_kind=INT64_KIND if labels else kind,
                y_row_stride=8 if labels else t.y_buffer_stride,
                weights=t.weight_buffer if weights.kind != NOTHING else 0,
                delta=o.delta if wants_delta else 0,
                delta_stride=o.delta_stride,
                rows=t.rows,
                columns=o.outputs,
                parameter=t.loss_parameter,
                scale=t.loss_scale,
                cost=0,
                weight=0,
                raised=place_of(s.network, Network, "raised"),
            )
        )
        wrong = call(t.loss, (args,))
        return wrong, get(args, LossArguments, "cost"), get(args, LossArguments, "weight")

    return cost


@functools.cache  # compiled once for all that use it
def penaliser(real):
    """Make penalise(network, t, weight, region), which adds the penalty on the weights of a minibatch, whose sample weights
    add up to `weight`, to the network's `penalties`, and makes its derivative the step's weight decay."""
    square_of = square_maker(real)

    @inner
    def penalise(network, t, weight, region):
        total = 0.0
        for i in range(t.length):
            o = fetch(Operation, t.operations + i * OPERATION_BYTES)
            if o.decayed_count > 0:
                total += square_of(o.parameters, o.decayed_count, region)
        put(network, Network, "penalties", get(network, Network, "penalties") + 0.5 * t.penalty * total)
        put(network, Network, "weight_decay", t.penalty / weight if weight != 0 else 0.0)

    return penalise
