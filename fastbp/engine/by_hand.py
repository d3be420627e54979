"""The forward and the backward pass of a step that a user puts together; code compiled once a dtype."""

from typing import NamedTuple

from fastbp.compiler.arrays import Array
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.llvm import call, fetch, on_stack, put
from fastbp.compiler.strided import copier
from fastbp.engine.minibatch import minibatch_loader
from fastbp.engine.slices import Slice, account_of_minibatches, in_a_team, team_size
from fastbp.engine.table import Network, Operation
from fastbp.engine.walk import backward, forward, has_raised, last_operation, take_back_forward
from fastbp.parallel.sharing import lead_if_faster


@code_per_dtype
def forward_rows(real):
    """forward_rows(args, region): one forward pass of training over the rows of a Slice; outputs as `predict_rows`."""
    size, load_rows, copy = real.bitwidth // 8, minibatch_loader(real), copier(real)

    def forward_rows(args, region):
        s = fetch(Slice, args)
        out = fetch(Array, s.out)
        load_rows(args, s.first, s.last - s.first, True, region)  # the backward pass reads them, when x may be gone
        call(forward(real), (s.network, 1, region))
        t = fetch(Network, s.network)
        if has_raised(s.network):
            take_back_forward(t)
            put(s.network, Network, "rows", 0)  # no backward pass may follow
            return 0
        o = last_operation(t)
        rows = s.last - s.first
        copy(out.address, out.row_stride, out.column_stride, o.output, o.output_stride, size, rows, o.outputs)
        return 0

    return forward_rows


@code_per_dtype
def forward_minibatch(real):
    """forward_minibatch(args, region): `forward_rows`, in a team where that saves time."""
    return in_a_team(forward_rows, 1.0)(real)


class Deltas(NamedTuple):
    """What a backward pass by hand is given: addresses of Arrays."""

    network: int
    delta: int
    input_delta: int  # 0: not wanted


@code_per_dtype
def backward_rows(real):
    """backward_rows(args, region): compute all gradients from the Deltas at `args`."""
    size, copy = real.bitwidth // 8, copier(real)

    def backward_rows(args, region):
        given = fetch(Deltas, args)
        t, d = fetch(Network, given.network), fetch(Array, given.delta)
        o = last_operation(t)
        copy(o.delta, o.delta_stride, size, d.address, d.row_stride, d.column_stride, t.rows, o.outputs)
        put(given.network, Network, "wants_input_delta", 1 if given.input_delta != 0 else 0)
        call(backward(real), (given.network, 0, region))
        if given.input_delta != 0:
            first, out = fetch(Operation, t.operations), fetch(Array, given.input_delta)
            source, stride = first.input_delta, first.input_delta_stride
            copy(out.address, out.row_stride, out.column_stride, source, stride, size, t.rows, t.inputs)
        put(given.network, Network, "wants_input_delta", 0)
        return 0

    return backward_rows


@code_per_dtype
def backward_minibatch(real):
    """backward_minibatch(network, delta, input_delta, region): compute all gradients from dC/d(output), an Array of the rows of
    the last forward pass, and write dC/dx into the Array at `input_delta`, unless that is 0."""

    def backward_minibatch(network, delta, input_delta, region):
        t, args = fetch(Network, network), on_stack(Deltas(network=network, delta=delta, input_delta=input_delta))
        threads = team_size(t, t.rows, 2.0 * t.flops * t.rows, region)
        if threads > 1:
            account = account_of_minibatches(backward_rows(real), network, t.rows, t.flops)
            lead_if_faster(account, t.rows, t.team, threads, backward_rows(real), args, region)
        else:
            call(backward_rows(real), (args, 0))
        return 0

    return backward_minibatch
