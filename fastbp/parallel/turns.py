"""Who is at work with an object: one thread at a time, of whom a forked child, without that thread, knows nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastbp.compiler.live import forks


class ProcessLock:
    """A lock for each process: what a thread holds when another forks the process, nobody holds in the child."""

    def __init__(self) -> None:
        self._locks: dict[int, Any] = {}

    def here(self) -> Any:
        """Return the lock of this process, for a `with`; a thread that holds it may take it again."""
        return self._locks.setdefault(forks(), threading.RLock())


class Holder(NamedTuple):
    """Who has a turn, and for what."""

    thread: int
    doing: str


class Turn:
    """The right to train something, which one thread has at a time; others are refused at once."""

    def __init__(self, name: str):
        self.name = name
        self._holders: dict[int, Holder] = {}  # by process; `setdefault` is a single step for all threads

    @contextlib.contextmanager
    def taken(self, doing: str, within: bool = False) -> Iterator[bool]:
        """Hold the turn for a `with` block; RuntimeError where another holds it. within: it may be held by what this thread
        is doing already; yields whether it is."""
        mine, process = Holder(threading.get_ident(), doing), forks()
        try:
            holder = self._holders.setdefault(process, mine)
            if holder is not mine and not (within and holder.thread == mine.thread):
                self._refuse(mine, holder)
            yield holder is not mine
        finally:
            if self._holders.get(process) is mine:
                del self._holders[process]

    def _refuse(self, mine: Holder, holder: Holder) -> None:
        when = "within" if holder.thread == mine.thread else "while another thread is in"
        raise RuntimeError(
            f"{self.name}: got a call of {mine.doing} {when} {holder.doing}, expected one at a time (predictions may run "
            f"beside it, and a copy.deepcopy of the {self.name} may be trained beside it)"
        )
