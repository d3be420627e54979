"""A turn of a verb: one thread at a time works with a Training; two would write into its buffers, and read past their ends."""

from fastbp.compiler.arguments import IN_USE, TRAINING, refuse
from fastbp.compiler.jit import inner
from fastbp.compiler.live import FORKS, state
from fastbp.compiler.llvm import atomic_read, atomic_write, exchange_if
from fastbp.engine.table import NETWORK

AT_TURN = NETWORK["turn"]


@inner
def begin_turn(network, fault):
    """Whether no other thread is at work; if so nobody else is until `end_turn`. What was at work in the parent of a forked
    process is not in the child."""
    mine, there = state(FORKS) + 1, atomic_read(network + AT_TURN)
    if there == mine or not exchange_if(network + AT_TURN, there, mine):
        return refuse(fault, IN_USE, TRAINING, 0, 0, 0, 0)
    return True


@inner
def end_turn(network):
    atomic_write(network + AT_TURN, 0)
