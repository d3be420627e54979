"""Steps of training over the rows of a Slice; code compiled once a dtype.

    minibatch -> forward -> cost and its delta -> backward -> update

What goes over the table of operations is in `walk.py`.
"""

import numpy as np

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.llvm import call, fetch, put, read, write
from fastbp.engine.cost import cost_evaluator, penaliser
from fastbp.engine.minibatch import minibatch_loader
from fastbp.engine.slices import Slice, in_a_team
from fastbp.engine.table import COST, MINIBATCH, STEP, UPDATE, Network
from fastbp.engine.walk import backward, begin_update, count, forward, has_raised, now, take_back_forward, update


@code_per_dtype
def train_rows(real):
    """train_rows(args, region): make steps over the rows of the Slice at `args`; stop before an update whose cost is not
    finite, or on the way to which a user's function raised something."""
    load_rows, cost, penalise = minibatch_loader(real), cost_evaluator(real), penaliser(real)

    def train_rows(args, region):
        s = fetch(Slice, args)
        t = fetch(Network, s.network)
        total, total_weight, step = s.cost, s.weight, 0
        put(args, Slice, "stopped", -1)
        for first in range(s.first, s.last, t.batch_size):
            began_step = began = now(t)
            load_rows(args, first, min(t.batch_size, s.last - first), False, region)
            count(t, t.length, MINIBATCH, began)
            call(forward(real), (s.network, 1, region))
            began = now(t)
            wrong, batch_cost, batch_weight = cost(s, fetch(Network, s.network), first, True)
            count(t, t.length, COST, began)
            if wrong != 0 or not np.isfinite(batch_cost) or has_raised(s.network):
                put(args, Slice, "stopped", first)
                break
            if s.rates != 0:
                write(t.learning_rate, read(s.rates + 8 * step, np.float64))
            if t.penalty != 0:
                penalise(s.network, t, batch_weight, region)
            if t.fuses != 0:
                call(begin_update(real), (s.network,))
            call(backward(real), (s.network, t.fuses, region))
            if has_raised(s.network):  # a network with functions of its user does not fuse
                put(args, Slice, "stopped", first)
                break
            if t.fuses == 0:
                began = now(t)
                call(update(real), (s.network, region))
                count(t, t.length, UPDATE, began)
            total, total_weight, step = total + batch_cost, total_weight + batch_weight, step + 1
            count(t, t.length, STEP, began_step)
        if has_raised(s.network):
            take_back_forward(t)
        put(args, Slice, "cost", total)
        put(args, Slice, "weight", total_weight)
        return 0

    return train_rows


@code_per_dtype
def train_slice(real):
    """train_slice(args, region): `train_rows`, in a team where that saves time."""
    return in_a_team(train_rows, 3.0)(real)
