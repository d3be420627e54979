"""The only prange: deals the parts of some code to threads. And how many threads there are at this moment."""

import numpy as np
from numba import prange, types

from fastbp.compiler.cache import OPTIONS
from fastbp.compiler.code import code
from fastbp.compiler.jit import compile_options, inner
from fastbp.compiler.live import GET_NUM_THREADS, MAIN_THREAD, ONLY_MAIN_THREAD, SERIAL_PROCESS, THREAD_IDENT, state
from fastbp.compiler.llvm import call, read
from fastbp.parallel.team import SIZE, TEAM, deal_to_team


@compile_options(parallel=True, **OPTIONS)
def deal(body, args, parts):
    for part in prange(parts):
        call(body, (args, types.int64(part), parts))


@code(needs_threads=True)
def region(body, args, parts):
    """region(body, args, parts): run body(args, part, parts) for each part below `parts`, shared among the threads."""
    deal(body, args, parts)
    return 0


@inner
def threads_now(region):
    """Return how many threads may work: numba's number; 1 where there is no region, in a forked child, or off the main
    thread under a layer that bears only one."""
    if region & TEAM:
        return read(region - TEAM + SIZE, np.int64)
    if region == 0 or state(SERIAL_PROCESS) != 0:
        return 1
    if state(ONLY_MAIN_THREAD) != 0 and call(state(THREAD_IDENT), ()) != state(MAIN_THREAD):
        return 1
    return call(state(GET_NUM_THREADS), ()) & 0xFFFFFFFF


@inner
def run(region, body, args, parts):
    """Run body(args, part, parts) for each part below `parts`; `region`: the address of the code above, or a team's."""
    if parts == 1:
        call(body, (args, 0, 1))
    elif region & TEAM:
        call(deal_to_team(), (region - TEAM, body, args, parts))
    else:
        call(region, (body, args, parts))
