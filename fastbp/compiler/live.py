"""The live state: what compiled code asks at run time, since numba freezes Python's globals into it; numba's threads; forks."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic as numba_intrinsic

from fastbp.compiler.numba_internals import launch_threads, threads_run

I64 = ir.IntType(64)
intrinsic: Any = numba_intrinsic

SERIAL_PROCESS, ONLY_MAIN_THREAD, MAIN_THREAD, GET_NUM_THREADS, THREAD_IDENT, YIELD, CALLER_TAKES_PART, FORKS = range(8)
CLOCK, ACCOUNTS = 8, 9  # addresses: of a Clock, of the table of Accounts
_state = (ctypes.c_int64 * 10)()
_STATE_SYMBOL = "fastbp.state"
llvm.add_symbol(_STATE_SYMBOL, ctypes.addressof(_state))
_state[MAIN_THREAD] = threading.main_thread().ident or 0
_state[THREAD_IDENT] = ctypes.cast(ctypes.pythonapi.PyThread_get_thread_ident, ctypes.c_void_p).value or 0
_yield: Any = ctypes.windll.kernel32.SwitchToThread if os.name == "nt" else ctypes.CDLL(None).sched_yield  # type: ignore
_state[YIELD] = ctypes.cast(_yield, ctypes.c_void_p).value or 0


@intrinsic
def state(typingctx, index):
    """One cell of the live state, which may change after compilation."""

    def codegen(context, builder, signature, args):
        module = builder.module
        cells = module.globals.get(_STATE_SYMBOL) or ir.GlobalVariable(
            module, ir.ArrayType(I64, len(_state)), _STATE_SYMBOL
        )
        cells.linkage = "external"
        return builder.load(builder.gep(cells, [I64(0), args[0]]))

    return types.int64(types.int64), codegen


def tell(index: int, value: int) -> int:
    """Write one cell of the live state; return what it held."""
    before, _state[index] = _state[index], value
    return int(before)


class NoThreadingLayer(ValueError):  # noqa: N818 (users see a ValueError)
    """The environment asks for a threading layer that cannot be had here."""


@functools.cache
def start_threads() -> str:
    """Start numba's threading layer, unless it runs, and note what it allows; return its name."""
    try:
        launch_threads()
    except ValueError as error:  # numba's, of several lines
        raise NoThreadingLayer(
            f"NUMBA_THREADING_LAYER: got {config.THREADING_LAYER!r}, which cannot be loaded here, expected a layer that is "  # type: ignore[attr-defined]
            "installed (omp, tbb, workqueue; `python -m numba -s` lists them), or none, for numba to choose one"
        ) from error
    layer = numba.threading_layer()
    _state[ONLY_MAIN_THREAD] = layer == "workqueue"  # it aborts the process when two threads enter it
    _state[CALLER_TAKES_PART] = layer == "omp"  # in a region, with its first part; other layers do not say
    _state[GET_NUM_THREADS] = llvm.address_of_symbol("get_num_threads")
    return layer


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep what the calling thread runs inside a `with` on this thread."""
    start_threads()
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(threads)


def most_threads() -> int:
    """Return how many threads numba may ever use in this process."""
    return int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def forks() -> int:
    """Return how many forks lie between this process and the one that imported fastbp."""
    return int(_state[FORKS])


def _after_fork_in_child() -> None:
    # GNU OpenMP kills a forked child that enters a parallel region, and hangs a grandchild
    if threads_run():
        _state[SERIAL_PROCESS] = 1
    _state[MAIN_THREAD] = threading.get_ident()
    _state[FORKS] += 1
    global_compiler_lock.release()


if hasattr(os, "register_at_fork"):
    # a thread that compiles finishes first: in the child it does not exist, and would leave numba half done and locked
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=_after_fork_in_child,
    )
