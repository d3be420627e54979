"""Turns of verbs: one thread at a time works with a Training, since two would overwrite its buffers and read past their
ends."""

from fastbp.compiler import faults, names
from fastbp.compiler.faults import refuse
from fastbp.compiler.jit import inner
from fastbp.compiler.live import FORKS, state
from fastbp.compiler.llvm import atomic_read, atomic_write, exchange_if, place_of
from fastbp.engine.table import Network


@inner
def begin_turn(network, fault):
    """Take the turn until `end_turn`, unless another thread has it; returns whether it was taken. A thread that had it when the
    process was forked does not have it in the child."""
    turn = place_of(network, Network, "turn")
    mine, there = state(FORKS) + 1, atomic_read(turn)
    if there == mine or not exchange_if(turn, there, mine):
        return refuse(fault, faults.IN_USE, names.TRAINING)
    return True


@inner
def end_turn(network):
    """Give the turn back."""
    atomic_write(place_of(network, Network, "turn"), 0)
