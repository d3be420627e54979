"""The door to numba's decorators: every flag with its reason.

- `inner(f)`: a helper, compiled into whatever calls it; `inlined(f)`: the same, inlined before compilation.
- `kernel(f)`: a public function, callable from Python and from users' `@njit` code.
- `python_function(f, types, key)`: for one set of types, called from Python at the least cost.
- code called by address: `code.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic as numba_intrinsic

from fastbp.compiler.cache import OPTIONS, package_cache
from fastbp.compiler.numba_internals import around_compilation, enter_compiled, type_defaults_by_value, use_cache
from fastbp.compiler.refusal import refuse

I64 = ir.IntType(64)
intrinsic: Any = numba_intrinsic


def compile_options(**options: Any) -> Any:
    """numba's decorator with those options; ImportError where numba is told not to compile."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise ImportError(
            "NUMBA_DISABLE_JIT: got 1, expected 0: fastbp is made of compiled functions and has no others; unset the "
            "variable, or leave fastbp out where you debug functions of your own as plain Python"
        )
    return numba.njit(**options)


def inner(f: Callable) -> Callable:
    """Return a helper: compiled into the functions that call it, never cached by itself, nor callable from Python.

    Without the wrappers for Python and C it compiles in half the time.
    """
    return _without_literals(compile_options(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(f))


def _without_literals(dispatcher: Any) -> Any:
    """`dispatcher`, compiled once for all constants: numba compiles a callee anew for each literal argument."""
    template = dispatcher.get_call_template

    def get_call_template(args, kws):
        return template(tuple(map(types.unliteral, args)), {name: types.unliteral(t) for name, t in kws.items()})

    dispatcher.get_call_template = get_call_template
    return dispatcher


def _for_any_layout(dispatcher: Any) -> Any:
    """`dispatcher`, compiled once for arrays of all layouts that come from Python, since it looks at their strides anyway."""

    def compile_once(compile_for, *args):
        given = [dispatcher.typeof_pyval(x) for x in args]
        taken = [t.copy(layout="A") if isinstance(t, types.Array) else t for t in given]
        if taken == given:
            return compile_for(*args)
        compiled = dispatcher.compile(tuple(taken))
        enter_compiled(dispatcher, given, compiled)
        return compiled

    around_compilation(dispatcher, compile_once)
    return dispatcher


def inlined(f: Callable) -> Callable:
    """Return a helper inlined before compilation: for what holds much machine code, which would otherwise be optimised
    twice."""
    return compile_options(inline="always", **OPTIONS)(f)


def kernel(f: Callable) -> Any:
    """Return a public function: callable from Python and from `@njit`, cached on disk for every set of argument types.

    Its attribute `serial` is the same function compiled once more with `no_region` in place of its module's global
    `region`: it never enters a parallel region, nor links one.
    """
    alone: Any = FunctionType(f.__code__, {**f.__globals__, "region": no_region}, f.__name__, f.__defaults__)
    functools.update_wrapper(alone, f)
    del alone.__wrapped__
    dispatcher = _cached_dispatcher(f, ())
    dispatcher.serial = _cached_dispatcher(alone, ("serial",))
    return dispatcher


def compile_for_callers(kernel: Any, arguments: tuple) -> None:
    """Compile a public function for compiled code that calls it with such arguments and leaves out the others."""
    kernel.get_call_template(tuple(map(numba.typeof, arguments)), {})


def _cached_dispatcher(f: Callable, key: tuple) -> Any:
    dispatcher = _without_literals(compile_options(**OPTIONS)(f))
    dispatcher = _with_plain_defaults(_refusing(_for_any_layout(dispatcher)))
    use_cache(dispatcher, package_cache(f, key))
    return dispatcher


def python_function(f: Callable, argument_types: tuple, key: tuple) -> Callable:
    """`f` compiled for these types alone and cached, to be called from Python with arguments of just these types.

    Without numba's look at the arguments a call costs half as much. It keeps the GIL: for work of some microseconds,
    which two threads then cannot do at once in the same memory.
    """
    dispatcher = compile_options(**{**OPTIONS, "nogil": False})(f)
    use_cache(dispatcher, package_cache(f, key))
    dispatcher.compile(argument_types)
    return dispatcher.get_overload(argument_types)


def _refusing(dispatcher: Any) -> Any:
    """`dispatcher`, refusing arguments that numba has no type for with a sentence, before it compiles anything for them."""

    def refuse_or_compile(compile_for, *args, **kws):
        refuse(dispatcher.py_func, args, kws)
        return compile_for(*args, **kws)

    around_compilation(dispatcher, refuse_or_compile)
    return dispatcher


def _with_plain_defaults(dispatcher: Any) -> Any:
    """`dispatcher`, with arguments left out in Python typed like their values: as numba's OmittedArg each costs 9 us."""
    names = tuple(inspect.signature(dispatcher.py_func).parameters)
    type_defaults_by_value(dispatcher, names, dispatcher.py_func.__defaults__ or ())
    return dispatcher


@intrinsic
def no_region(typingctx):
    """Return the address 0: what `kernel` puts in place of the parallel region."""
    return types.int64(), lambda context, builder, signature, args: I64(0)
