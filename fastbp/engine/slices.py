"""A Slice of rows, and code that runs over it: on one thread, or in a team where that saves time."""

from typing import NamedTuple

from fastbp.compiler.code import code
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import call, fetch, get, put
from fastbp.engine.table import Network
from fastbp.engine.walk import has_raised
from fastbp.parallel.region import threads_now
from fastbp.parallel.sharing import SERIAL_BELOW, lead_if_faster, most_parts, shareable
from fastbp.parallel.sharing_account import account_of

CHUNK_NANOSECONDS = 2_000_000  # work that a team is opened for: some hundred times what opening it costs


class Slice(NamedTuple):
    """Rows `first` to `last` of an epoch, or of data to evaluate or predict; results are written into it."""

    network: int
    x: int  # addresses of Arrays
    y: int
    weights: int  # of the samples; an Array of kind NOTHING for none
    order: int  # address of int64 row numbers; 0: the rows as they lie
    order_stride: int
    first: int
    last: int
    rates: int  # address of a float64 learning rate for each step; 0: the network's stays as it is
    out: int  # address of the Array for predictions
    cost: float  # the sum of w_k c_k is added to it, so that bits do not depend on how an epoch was cut into slices
    weight: float  # the sum of w_k is added to it
    # comes back: the first row of the minibatch whose cost is not finite, whose labels are wrong, or in which a user's
    # function raised; otherwise -1
    stopped: int


@inner
def slice_of(network, x, y, weights, order, order_stride, rows, out):
    """Return a Slice of all `rows` rows."""
    return Slice(
        network=network,
        x=x,
        y=y,
        weights=weights,
        order=order,
        order_stride=order_stride,
        first=0,
        last=rows,
        rates=0,
        out=out,
        cost=0.0,
        weight=0.0,
        stopped=-1,
    )


def in_a_team(rows_code, passes):
    """Code (args, region) that runs `rows_code` on the Slice at `args`, in a team where that saves time; `passes`: the work of
    `rows_code`, in forward passes."""

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
    """run_chunks(args, rows_code, threads, region): run over the Slice at `args` in chunks that are short enough to see what
    sharing brings while the slice goes on."""
    s = fetch(Slice, args)
    t = fetch(Network, s.network)
    account = account_of_minibatches(rows_code, s.network, min(s.last - s.first, t.batch_size), t.flops)
    first, count = s.first, 1
    put(args, Slice, "stopped", -1)
    while first < s.last and get(args, Slice, "stopped") < 0 and not has_raised(s.network):
        last = min(first + count * t.batch_size, s.last)
        put(args, Slice, "first", first)
        put(args, Slice, "last", last)
        if s.rates != 0:
            put(args, Slice, "rates", s.rates + 8 * ((first - s.first) // t.batch_size))
        took = lead_if_faster(account, last - first, t.team, threads, rows_code, args, region)
        count = max(1, min(4 * count, count * CHUNK_NANOSECONDS // max(took, 1)))
        first = last
    put(args, Slice, "first", s.first)
    put(args, Slice, "last", s.last)
    put(args, Slice, "rates", s.rates)
    return 0


@inner
def account_of_minibatches(code, network, rows, flops):
    """Return the Account of a code that goes over minibatches of `rows` rows, `flops` floating-point operations each."""
    return call(account_of(), (code ^ network, rows, 0, 0, int(flops * rows)))


@inner
def team_size(t, rows, flops, region):
    """Return how many threads are of use to minibatches of `rows` rows, in `flops` floating-point operations altogether."""
    if region == 0 or flops < SERIAL_BELOW:
        return 1
    return min(threads_now(region), most_parts(shareable(t.largest_flops, rows)))
