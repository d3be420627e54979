"""What fastbp uses of numba beyond its documented interface; each function says what it is for, and nothing else uses it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

import numba
from numba.core.environment import Environment

ANY_ENVIRONMENT = TypeVar("ANY_ENVIRONMENT", bound=Environment)


# -------------------------------------------------------------------------------------------------------- dispatchers


def use_cache(function: Any, cache: Any) -> None:
    """Let a dispatcher, or numba's CFunc, keep what it compiles in `cache`."""
    function._cache = cache


def around_compilation(dispatcher: Any, compiles: Callable[..., Any]) -> None:
    """Let compiles(compile_for, *args, **kws) stand for `compile_for`, which a dispatcher calls from Python with arguments
    of types that it has not been compiled for."""
    compile_for = dispatcher._compile_for_args
    dispatcher._compile_for_args = lambda *args, **kws: compiles(compile_for, *args, **kws)


def enter_compiled(dispatcher: Any, argument_types: Sequence[Any], compiled: Any) -> None:
    """Let a dispatcher use what is compiled for other types where Python gives it arguments of these types."""
    dispatcher._insert([t._code for t in argument_types], compiled, False)


def type_defaults_by_value(dispatcher: Any, names: tuple[str, ...], defaults: tuple) -> None:
    """Let a dispatcher type arguments that Python leaves out as it types the values of their defaults."""
    begin = numba._dispatcher.Dispatcher.__init__
    begin(
        dispatcher, dispatcher._tm.get_pointer(), len(names), dispatcher._fold_args, names, defaults, True, False, False
    )


# ----------------------------------------------------------------------------------------------------- emitting code


def value_of_struct(proxy: Any) -> Any:
    """Return the LLVM value of one of numba's structures: of an array, say."""
    return proxy._getvalue()


ENVIRONMENTS = "_ZN08NumbaEnv"  # how the names of environments begin


def named_environment(kind: type[ANY_ENVIRONMENT], name: str) -> ANY_ENVIRONMENT:
    """Return an environment that numba finds by its name in machine code. numba pickles an environment along with every
    function whose code has its name, which it also has from what it links; and unpickles it before it loads the machine
    code."""
    return kind.from_fndesc(
        SimpleNamespace(env_name=f"{ENVIRONMENTS}.{name}", lookup_globals=lambda: {"__name__": __name__})
    )


def mention_environment(environment: Environment, context: Any, module: Any) -> None:
    """Write the name of an environment into the machine code of a module."""
    context.declare_env_global(module, environment.env_name)


# ------------------------------------------------------------------------------------------------------------ threads


def launch_threads() -> None:
    """Start the threading layer, unless it runs."""
    from numba.np.ufunc import parallel  # which loads much

    parallel._launch_threads()


def threads_run() -> bool:
    """Return whether a threading layer has been started in this process, by fastbp or by others."""
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    return parallel is not None and parallel._is_initialized
