"""Whether a kind of work is shared among threads: decided by what sharing has brought so far, which nobody can know ahead.

Two threads may sit on one core (hyperthreads, virtual machines, other programs at work). Then one alone is faster: by half, or
a hundred times where it would wait for a thread whose core another program has. Shared or not, the bits are the same. So
each kind of work has an Account, which keeps what the work takes on one thread, and what sharing has saved:

- losses are paid from what was saved before; when that is used up, one thread does the work alone,
- until the loss is a twentieth of the time that it has worked: then sharing is tried again;
- each time that this loses again the fraction is halved, to a two-hundredth at last;
- while sharing pays, a two-hundredth of the time goes into measuring what one thread takes now.

So at most a twentieth of one thread's time is lost in the long run. A loss that only waiting for a core explains is a
warning to all kinds of work: for a while they try nothing. Times are in nanoseconds of the kind's own work, where nothing else
is said. Several threads may write at once: a number may get lost, which makes a choice worse, but changes no result.
"""

import contextlib
import ctypes
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastbp.compiler.code import code
from fastbp.compiler.jit import inner
from fastbp.compiler.live import ACCOUNTS, state, tell
from fastbp.compiler.llvm import fetch, get, places, put


class Account(NamedTuple):
    """What is known of one kind of work."""

    kind: int  # which it is; 0: none yet
    shares: int  # 1 where sharing is usual
    trial: int  # calls that one thread still has to make in the trial at hand
    left: int  # time until something else is tried
    alone: float  # time that one thread takes for a unit of work; 0: not known
    credit: float  # time that sharing has saved
    patience: float  # after a loss one thread works alone for this many times the loss
    spare: int  # makes the record a cache line


class Warnings(NamedTuple):
    """Ahead of the accounts: what holds for all kinds of work."""

    until: int  # nobody tries to share before this time of the clock
    patience: float  # the last warning held for this many times the loss


ACCOUNT_BYTES = 8 * len(places(Account))
ACCOUNTS_HELD = 1024  # places in the table, each for the kind of work that came last
TABLE_BYTES = (1 + ACCOUNTS_HELD) * ACCOUNT_BYTES  # the warnings take the first line

LARGE = 1e9  # floating-point operations: work that is shared at once, since waiting for a thread is short beside it
FIRST_ALONE = 500_000  # other work is done on one thread for this long before sharing is tried
FIRST_CREDIT = 200_000  # what may be lost on waking the other threads
MOST_CREDIT = 3_000_000.0
FIRST_PATIENCE, MOST_PATIENCE = 20.0, 200.0
LONGEST = 500_000_000  # alone, unless FIRST_PATIENCE times the loss is more
WAITED = 1_000_000  # a larger loss in one call is a wait for a core
TRIAL_CALLS = 4  # on one thread: the first of them finds half of its data in another core's cache
BETWEEN_TRIALS = 200  # times what the trial takes

_room = (ctypes.c_int64 * (TABLE_BYTES // 8 + 8))()
_table = ctypes.addressof(_room) + -ctypes.addressof(_room) % ACCOUNT_BYTES
tell(ACCOUNTS, _table)


@contextlib.contextmanager
def always_shared() -> Iterator[None]:
    """Share all work that is large enough, whatever that brings, inside a `with`."""
    before = tell(ACCOUNTS, 0)
    try:
        yield
    finally:
        tell(ACCOUNTS, before)


@inner
def mixed(kind, number):
    """Return a number that depends on both."""
    x = (kind ^ number) * 0x2545F4914F6CDD1D
    return x ^ (x >> 29)


@inner
def quarters(size):
    """Return the same number for sizes that differ by a fifth at most, as a rule."""
    return int(4.0 * np.log2(max(size, 1)))


@code
def account_of(what, m, n, k, flops):
    """account_of(what, m, n, k, flops): the address of the Account of that work, of about these sizes; 0: always share it."""
    if state(ACCOUNTS) == 0:
        return 0
    kind = mixed(mixed(mixed(mixed(0, what), quarters(m)), quarters(n)), quarters(k)) | 1
    account = state(ACCOUNTS) + ACCOUNT_BYTES * (1 + ((kind >> 20) & (ACCOUNTS_HELD - 1)))
    if get(account, Account, "kind") != kind:
        put(account, Account, "shares", 1 if flops >= LARGE else 0)
        put(account, Account, "trial", 0)
        put(account, Account, "left", FIRST_ALONE)
        put(account, Account, "alone", 0.0)
        put(account, Account, "credit", 0.0)
        put(account, Account, "patience", FIRST_PATIENCE)
        put(account, Account, "kind", kind)
    return account


@inner
def know_alone(account, alone):
    """Note what a unit of work takes on one thread, so that no trial has to measure it."""
    if account != 0 and get(account, Account, "shares") != 0:
        put(account, Account, "alone", alone)
        put(account, Account, "left", 1 << 62)


@inner
def shares(account, now):
    """Return whether a call that begins `now` is shared: its kind usually is, is not in a trial, and no warning holds."""
    if account == 0:
        return True
    usual = get(account, Account, "shares") != 0 and get(account, Account, "trial") == 0
    return usual and (state(ACCOUNTS) == 0 or now >= get(state(ACCOUNTS), Warnings, "until"))


@code
def note(account, shared, began, now, work):
    """note(account, shared, began, now, work): enter a call that did `work` units of work from `began` to `now`."""
    if account != 0 and work > 0:
        if shared != 0:
            note_shared(account, fetch(Account, account), now - began, now, work)
        else:
            note_alone(account, fetch(Account, account), now - began, work)
    return 0


@inner
def note_alone(account, a, took, work):
    """Enter a call on one thread; where it was the last of them, sharing begins."""
    alone = learned(a.alone, took / work)
    put(account, Account, "alone", alone)
    put(account, Account, "left", a.left - took)
    if a.shares != 0:
        put(account, Account, "trial", max(a.trial - 1, 0))
    elif a.left <= took:
        put(account, Account, "shares", 1)
        put(account, Account, "credit", FIRST_CREDIT)
        put(account, Account, "left", until_trial(alone * work))


@inner
def learned(alone, seen):
    """Return the time that is kept as that of one thread: rather a shorter one, since a longer one may have been
    interrupted."""
    if alone == 0.0 or seen < 0.5 * alone:
        return seen
    return alone + (0.5 * (seen - alone) if seen < alone else 0.125 * (min(seen, 1.25 * alone) - alone))


@inner
def until_trial(one):
    """Return the time until the next trial, whose calls take `one` each."""
    return int(TRIAL_CALLS * BETWEEN_TRIALS * one)


@inner
def note_shared(account, a, took, now, work):
    """Enter a shared call: what it saved or lost, and whether the next ones are shared too."""
    saved = a.alone * work - took
    credit = min(a.credit + saved, MOST_CREDIT)
    put(account, Account, "left", a.left - took)
    if a.alone == 0.0:
        put(account, Account, "trial", TRIAL_CALLS)
        put(account, Account, "left", until_trial(took))
    elif credit < 0.0:
        lost = FIRST_CREDIT - credit
        put(account, Account, "shares", 0)
        put(account, Account, "left", alone_for(a.patience, lost))
        put(account, Account, "patience", min(2.0 * a.patience, MOST_PATIENCE))
        if saved < -WAITED:
            warn(lost, now)
    else:
        put(account, Account, "credit", credit)
        if credit == MOST_CREDIT:
            put(account, Account, "patience", FIRST_PATIENCE)
        if a.left <= took:
            put(account, Account, "trial", TRIAL_CALLS)
            put(account, Account, "left", until_trial(a.alone * work))


@inner
def alone_for(patience, lost):
    """Return how long one thread works alone after a loss."""
    return int(min(patience * lost, max(FIRST_PATIENCE * lost, LONGEST)))


@inner
def warn(lost, now):
    """Warn all kinds of work, so that no other of them has to find out for itself."""
    warnings = state(ACCOUNTS)
    if warnings != 0:
        before = fetch(Warnings, warnings)
        again = now - before.until < LONGEST
        patience = min(2.0 * before.patience, MOST_PATIENCE) if again else FIRST_PATIENCE
        put(warnings, Warnings, "until", now + alone_for(patience, lost))
        put(warnings, Warnings, "patience", patience)
