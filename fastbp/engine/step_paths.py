"""How a step goes about its operations: found out from the code that does it, on a Training that holds a minibatch."""

import numpy as np

from fastbp.compiler.code import call_code, code
from fastbp.compiler.llvm import fetch, write
from fastbp.engine.memory import Training, set_fields
from fastbp.engine.slices import team_size
from fastbp.engine.table import NETWORK, OPERATION, OPERATION_BYTES, Call, Network, Operation
from fastbp.gemm.path import Path, tell
from fastbp.parallel.sharing import parts_for, shareable
from fastbp.parallel.team import SIZE, TEAM


@code
def sharing(network, region, threads):
    """sharing(network, region, threads): write the number of threads that train minibatches of full size, and how many of them
    share each operation, as int64 at `threads`."""
    t = fetch(Network, network)
    team = team_size(t, t.batch_size, np.inf, region)
    write(threads, team)
    write(t.team + SIZE, team)
    for i in range(t.length):
        o = fetch(Operation, t.operations + i * OPERATION_BYTES)
        parts = parts_for(shareable(o.flops, t.batch_size), t.team + TEAM) if team > 1 else 1
        write(threads + 8 * (i + 1), parts)
    return 0


def threads_of(training: Training, region: int) -> list[int]:
    """Return the number of threads that train, then how many of them share each operation."""
    threads = np.zeros(len(training.operations) + 1, np.int64)
    call_code(sharing.of().resolve(), training.network.ctypes.data, region, threads.ctypes.data)
    return [int(n) for n in threads]


def path_of(training: Training, number: int, work: str, parts: int) -> Path:
    """Return the Path of an operation's product in "forward", "backward" or "gradient"; its `k` is 0 if it has none.

    All else that belongs to that work is done: after it the Training is only good for more questions of this kind.
    """
    path = np.array(Path(tell.of(training.parameters.dtype.name).resolve(), *[0] * 11), np.int64)
    block = np.array(Call(training.network.ctypes.data, training.operations[number].ctypes.data), np.int64)
    before = {name: int(training.network[NETWORK[name] // 8]) for name in ("work", "work_pitch")}
    set_fields(training.network, NETWORK, work=path.ctypes.data, work_pitch=-1)
    call_code(int(training.operations[number, OPERATION[work] // 8]), block.ctypes.data, 0, parts)
    set_fields(training.network, NETWORK, **before)
    return Path(*(int(x) for x in path))
