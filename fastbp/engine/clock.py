"""A clock for compiled code: the monotonic one of the operating system, called by address."""

import ctypes
import functools
import os
import time
from typing import NamedTuple

from fastbp._jit import inner
from fastbp._llvm import call, fetch, on_stack


class Clock(NamedTuple):
    """Where the clock is found, and how it is read."""

    function: int  # address
    name: int  # what POSIX calls this clock; -1: Windows, whose function takes none
    frequency: int  # ticks a second of what the function writes first


class Reading(NamedTuple):
    """What the function writes: ticks, then (POSIX) nanoseconds."""

    ticks: int
    nanoseconds: int


@functools.cache
def system_clock() -> Clock:
    """The clock of this system."""
    if os.name == "nt":
        kernel, frequency = ctypes.windll.kernel32, ctypes.c_int64(0)  # type: ignore[attr-defined]
        kernel.QueryPerformanceFrequency(ctypes.byref(frequency))
        return Clock(_address(kernel.QueryPerformanceCounter), -1, frequency.value)
    return Clock(_address(ctypes.CDLL(None).clock_gettime), time.CLOCK_MONOTONIC, 1)


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


@inner
def seconds(clock):
    """What the Clock at that address shows, in seconds from some moment."""
    c, reading = fetch(Clock, clock), on_stack(Reading(0, 0))
    call(c.function, (reading if c.name < 0 else c.name, reading))
    r = fetch(Reading, reading)
    return r.ticks / c.frequency + 1e-9 * r.nanoseconds
