"""The cost of a minibatch and its gradient, without an update: for optimizers that live outside the engine."""

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.llvm import call, fetch, put
from fastbp.engine.cost import cost_evaluator
from fastbp.engine.minibatch import minibatch_loader
from fastbp.engine.slices import Slice, in_a_team
from fastbp.engine.table import Network
from fastbp.engine.walk import backward, forward, has_raised


@code_per_dtype
def gradient_rows(real):
    """gradient_rows(args, region): take the rows of the Slice at `args` as one minibatch: add their cost to the Slice's,
    and leave the gradient of its mean in the network's gradients. Dropout does nothing."""
    load_rows, cost = minibatch_loader(real), cost_evaluator(real)

    def gradient_rows(args, region):
        s = fetch(Slice, args)
        load_rows(args, s.first, s.last - s.first, False, region)
        call(forward(real), (s.network, 0, region))
        if has_raised(s.network):
            return 0
        _, batch_cost, batch_weight = cost(s, fetch(Network, s.network), s.first, True)
        call(backward(real), (s.network, 0, region))
        put(args, Slice, "cost", s.cost + batch_cost)
        put(args, Slice, "weight", s.weight + batch_weight)
        return 0

    return gradient_rows


@code_per_dtype
def gradient_slice(real):
    """gradient_slice(args, region): `gradient_rows`, in a team where that saves time."""
    return in_a_team(gradient_rows, 3.0)(real)
