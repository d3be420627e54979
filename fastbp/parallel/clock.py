"""A clock for compiled code: the monotonic one of the operating system, called by address."""

import ctypes
import os
import time
from typing import NamedTuple

from fastbp.compiler.jit import inner
from fastbp.compiler.live import CLOCK, state, tell
from fastbp.compiler.llvm import call, fetch, on_stack


class Clock(NamedTuple):
    """Where the clock is found, and how it is read."""

    function: int  # address
    name: int  # what POSIX calls this clock; -1: Windows, whose function takes none
    tick: int  # nanoseconds, of what the function writes first


class Reading(NamedTuple):
    """What the function writes: ticks, then (POSIX) nanoseconds."""

    ticks: int
    nanoseconds: int


def system_clock() -> Clock:
    """Return the clock of this system."""
    if os.name == "nt":
        kernel, frequency = ctypes.windll.kernel32, ctypes.c_int64(0)  # type: ignore[attr-defined]
        kernel.QueryPerformanceFrequency(ctypes.byref(frequency))
        return Clock(_address(kernel.QueryPerformanceCounter), -1, 10**9 // frequency.value)
    return Clock(_address(ctypes.CDLL(None).clock_gettime), time.CLOCK_MONOTONIC, 10**9)


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


_clock = (ctypes.c_int64 * len(Clock._fields))(*system_clock())
tell(CLOCK, ctypes.addressof(_clock))


@inner
def nanoseconds():
    """Return what the clock shows, in nanoseconds from some moment on."""
    c, reading = fetch(Clock, state(CLOCK)), on_stack(Reading(0, 0))
    call(c.function, (reading if c.name < 0 else c.name, reading))
    r = fetch(Reading, reading)
    return r.ticks * c.tick + r.nanoseconds


@inner
def seconds():
    """Return what the clock shows, in seconds from some moment on."""
    return 1e-9 * nanoseconds()
