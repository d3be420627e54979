"""Whether a kind of work is shared among threads: by what sharing has brought so far, which nobody can know ahead.

Two threads may sit on one core (hyperthreads, virtual machines, other programs at work). Then one alone is faster: by half, or
a hundred times where it would wait for a thread whose core somebody else has. Shared or not the bits are the same, so
each kind of work has a Pace, which keeps what the work takes on one thread, and an account of what sharing saves:

- losses are paid from what was saved before; when that is used up, one thread does the work alone,
- until the loss is a twentieth of the time that it has worked: then sharing is tried again;
- each time that this loses again the share is halved, to a two-hundredth at last;
- while sharing pays, a two-hundredth of the time goes into seeing what one thread takes now.

So all that is lost in the long run is a twentieth of one thread's time. A loss that only waiting for a core explains is a
warning to all kinds of work: for a while they try nothing. Times are in nanoseconds, of the kind's own work where nothing else
is said. Several threads may write at once: a number may get lost, which makes a choice worse, and no result.
"""

import contextlib
import ctypes
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastbp.compiler.code import code
from fastbp.compiler.jit import inner
from fastbp.compiler.live import PACES, state, tell
from fastbp.compiler.llvm import fetch, read, write


class Pace(NamedTuple):
    """What is known of one kind of work."""

    kind: int  # which it is; 0: none yet
    shares: int  # whether sharing is usual
    trial: int  # calls of a trial that one thread still has to make
    left: int  # of the time until something else is tried
    alone: float  # what a unit of work takes on one thread; 0: not known
    credit: float  # what sharing has saved
    patience: float  # for how many times a loss one thread works alone
    spare: int  # makes it a cache line


PACE = {name: 8 * i for i, name in enumerate(Pace._fields)}
AT_KIND, AT_SHARES, AT_TRIAL, AT_LEFT, AT_ALONE, AT_CREDIT, AT_PATIENCE, _ = PACE.values()
PACE_BYTES = 8 * len(Pace._fields)

PLACES = 1024  # in the table, each for the kind that came last
AT_QUIET, AT_QUIET_PATIENCE, TABLE = 0, 8, PACE_BYTES  # ahead of it: until when nobody tries; for how many times a loss
LARGE = 1e9  # floating-point operations: work that is shared at once, since waiting for a thread is short beside it
FIRST_ALONE = 500_000  # of other work, before sharing is tried
FIRST_CREDIT = 200_000  # what may be lost on waking the other threads
MOST_CREDIT = 3_000_000.0
FIRST_PATIENCE, MOST_PATIENCE = 20.0, 200.0
LONGEST = 500_000_000  # alone, unless the loss was more than FIRST_PATIENCE of it
WAITED = 1_000_000  # a loss of so much at once is a wait for a core
TRIAL_CALLS = 4  # on one thread: the first of them finds half of its data in another core's cache
BETWEEN_TRIALS = 200  # times what the trial takes

_room = (ctypes.c_int64 * ((TABLE + PLACES * PACE_BYTES) // 8 + 8))()
_table = ctypes.addressof(_room) + -ctypes.addressof(_room) % PACE_BYTES
tell(PACES, _table)


@contextlib.contextmanager
def always_shared() -> Iterator[None]:
    """Meanwhile all work that is large enough is shared, whatever that brings."""
    before = tell(PACES, 0)
    try:
        yield
    finally:
        tell(PACES, before)


@inner
def mixed(kind, number):
    """A number that depends on both."""
    x = (kind ^ number) * 0x2545F4914F6CDD1D
    return x ^ (x >> 29)


@inner
def quarters(size):
    """Sizes that differ by a fifth at most have the same number, as a rule."""
    return int(4.0 * np.log2(max(size, 1)))


@code
def pace_of(what, m, n, k, flops):
    """pace_of(what, m, n, k, flops): the address of the Pace of that work, of about these sizes; 0: share it in any case."""
    if state(PACES) == 0:
        return 0
    kind = mixed(mixed(mixed(mixed(0, what), quarters(m)), quarters(n)), quarters(k)) | 1
    pace = state(PACES) + TABLE + PACE_BYTES * ((kind >> 20) & (PLACES - 1))
    if read(pace + AT_KIND, np.int64) != kind:
        write(pace + AT_SHARES, 1 if flops >= LARGE else 0)
        write(pace + AT_TRIAL, 0)
        write(pace + AT_LEFT, FIRST_ALONE)
        write(pace + AT_ALONE, 0.0)
        write(pace + AT_CREDIT, 0.0)
        write(pace + AT_PATIENCE, FIRST_PATIENCE)
        write(pace + AT_KIND, kind)
    return pace


@inner
def know_alone(pace, alone):
    """What a unit of work takes on one thread is known, and no trial has to tell."""
    if pace != 0 and read(pace + AT_SHARES, np.int64) != 0:
        write(pace + AT_ALONE, alone)
        write(pace + AT_LEFT, 1 << 62)


@inner
def shares(pace, now):
    """Whether to share the next call."""
    if pace == 0:
        return True
    usual = read(pace + AT_SHARES, np.int64) != 0 and read(pace + AT_TRIAL, np.int64) == 0
    return usual and (state(PACES) == 0 or now >= read(state(PACES) + AT_QUIET, np.int64))


@code
def note(pace, shared, began, now, work):
    """note(pace, shared, began, now, work): a call went on so long for so many units of work."""
    if pace != 0 and work > 0:
        if shared != 0:
            note_shared(pace, fetch(Pace, pace), now - began, now, work)
        else:
            note_alone(pace, fetch(Pace, pace), now - began, work)
    return 0


@inner
def note_alone(pace, p, took, work):
    alone = learned(p.alone, took / work)
    write(pace + AT_ALONE, alone)
    write(pace + AT_LEFT, p.left - took)
    if p.shares != 0:
        write(pace + AT_TRIAL, max(p.trial - 1, 0))
    elif p.left <= took:
        write(pace + AT_SHARES, 1)
        write(pace + AT_CREDIT, float(FIRST_CREDIT))
        write(pace + AT_LEFT, until_trial(alone * work))


@inner
def learned(alone, seen):
    """What is kept: rather the shorter times, since a longer one may have been interrupted."""
    if alone == 0.0 or seen < 0.5 * alone:
        return seen
    return alone + (0.5 * (seen - alone) if seen < alone else 0.125 * (min(seen, 1.25 * alone) - alone))


@inner
def until_trial(one):
    return int(TRIAL_CALLS * BETWEEN_TRIALS * one)


@inner
def note_shared(pace, p, took, now, work):
    saved = p.alone * work - took
    credit = min(p.credit + saved, MOST_CREDIT)
    write(pace + AT_LEFT, p.left - took)
    if p.alone == 0.0:
        write(pace + AT_TRIAL, TRIAL_CALLS)
        write(pace + AT_LEFT, until_trial(took))
    elif credit < 0.0:
        lost = FIRST_CREDIT - credit
        write(pace + AT_SHARES, 0)
        write(pace + AT_LEFT, alone_for(p.patience, lost))
        write(pace + AT_PATIENCE, min(2.0 * p.patience, MOST_PATIENCE))
        if saved < -WAITED:
            warn(lost, now)
    else:
        write(pace + AT_CREDIT, credit)
        if credit == MOST_CREDIT:
            write(pace + AT_PATIENCE, FIRST_PATIENCE)
        if p.left <= took:
            write(pace + AT_TRIAL, TRIAL_CALLS)
            write(pace + AT_LEFT, until_trial(p.alone * work))


@inner
def alone_for(patience, lost):
    """How long one thread works alone after a loss."""
    return int(min(patience * lost, max(FIRST_PATIENCE * lost, LONGEST)))


@inner
def warn(lost, now):
    """All kinds of work: no other of them has to find out for itself."""
    table = state(PACES)
    if table != 0:
        again = now - read(table + AT_QUIET, np.int64) < LONGEST
        patience = min(2.0 * read(table + AT_QUIET_PATIENCE, np.float64), MOST_PATIENCE) if again else FIRST_PATIENCE
        write(table + AT_QUIET, now + alone_for(patience, lost))
        write(table + AT_QUIET_PATIENCE, patience)
