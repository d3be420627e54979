"""Exceptions in users' functions: noted where they arise, on whatever thread, and raised where the call ends.

Code called by address tells its caller nothing of an exception: numba's wrapper for C prints it and goes on with what happens
to lie in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.callconv import errcode_t, excinfo_ptr_t
from numba.extending import intrinsic as numba_intrinsic

from fastbp.compiler.jit import python_function
from fastbp.compiler.llvm import I64, places, pointer

intrinsic: Any = numba_intrinsic

IN_OBJECT_MODE = -1  # numba's RETCODE_EXC: Python holds the exception


class Raised(NamedTuple):
    """An exception on its way. numba describes what compiled code raises; object mode leaves Python's three parts."""

    code: int  # what numba's functions return with an exception; 0: there is none
    kind: int  # the address of numba's description, or of the exception's class
    value: int
    traceback: int


def cells(builder, record):
    """Return the fields of the Raised at an address, as pointers."""
    base = pointer(builder, record, I64)
    return [builder.gep(base, [I64(i)]) for i in range(len(places(Raised)))]


@intrinsic
def noting(typingctx, record, function, arguments):
    """Call a compiled function with a tuple of arguments; note what it raises in the Raised at `record`, unless that holds
    something."""
    signature = function.get_call_type(typingctx, tuple(arguments), {})

    def codegen(context, builder, sig, args):
        found = function.dispatcher.get_compile_result(signature)
        context.add_linking_libs([found.library])
        values = cgutils.unpack_tuple(builder, args[2], len(arguments))
        status, _ = context.call_internal_no_propagate(builder, found.fndesc, signature, values)
        with cgutils.if_unlikely(builder, status.is_error):
            note(context, builder, args[0], status)
        return context.get_dummy_value()

    return types.void(types.int64, function, arguments), codegen


def note(context, builder, record, status):
    """Write a status into the Raised at `record`. Two threads may raise at once: the first takes the cell of the code, and
    with it the others."""
    code, *parts = cells(builder, record)
    taken = builder.cmpxchg(code, I64(0), builder.sext(status.code, I64), "acq_rel", "acquire")
    values = [cgutils.alloca_once_value(builder, I64(0)) for _ in parts]
    builder.store(builder.ptrtoint(status.excinfoptr, I64), values[0])
    with cgutils.if_unlikely(builder, status.is_python_exc):
        api = context.get_python_api(builder)
        lock = api.gil_ensure()
        api.err_fetch(*(builder.bitcast(value, api.pyobjptr) for value in values))
        api.gil_release(lock)
    with cgutils.if_likely(builder, builder.extract_value(taken, 1)):
        for cell, value in zip(parts, values, strict=True):
            builder.store(builder.load(value), cell)


@intrinsic
def raise_noted(typingctx, record):
    """Raise what is noted in the Raised at `record`, if anything, and forget it."""

    def codegen(context, builder, sig, args):
        code, *parts = cells(builder, args[0])
        noted = builder.load(code)
        with cgutils.if_unlikely(builder, builder.icmp_signed("!=", noted, I64(0))):
            builder.store(I64(0), code)
            values = [builder.load(part) for part in parts]
            with cgutils.if_unlikely(builder, builder.icmp_signed("==", noted, I64(IN_OBJECT_MODE))):
                api = context.get_python_api(builder)
                lock = api.gil_ensure()
                api.err_restore(*(builder.inttoptr(value, api.pyobj) for value in values))
                api.gil_release(lock)
            kind = builder.inttoptr(values[0], excinfo_ptr_t)
            status = SimpleNamespace(code=builder.trunc(noted, errcode_t), excinfoptr=kind)
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@functools.cache
def _raiser() -> Callable[[int], None]:
    """`raise_noted` for Python; compiled when something is raised."""

    def raise_at(record):
        raise_noted(record)

    return python_function(raise_at, (types.int64,), ())


def nothing_raised() -> np.ndarray:
    """Return a Raised that holds nothing, for Python."""
    return np.zeros(len(places(Raised)), np.int64)


def raise_again(record: np.ndarray, at: int = 0) -> None:
    """Raise in Python what is noted in the Raised that lies `at` bytes into a vector of int64, if anything, and forget it."""
    if record[at // 8]:
        _raiser()(record.ctypes.data + at)
