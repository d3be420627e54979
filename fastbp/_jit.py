"""The one door to numba's decorators: every flag with its reason, the cache, code called by address, the live state.

Three ways to compile a function:

- `inner(f)`: a helper, compiled into whatever calls it.
- `kernel(f)`: a public function, callable from Python and from other people's `@njit` code.
- `code(f)`, `code_per_dtype(make)`: called by address. numba links every callee into every caller and optimises it
  again there; code called by address is compiled once, cached, and costs its callers a load and a call (1 ns).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import inspect
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.caching import FunctionCache, NullCache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.extending import intrinsic as numba_intrinsic

I64 = ir.IntType(64)
intrinsic: Any = numba_intrinsic

OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # otherwise a branch to ZeroDivisionError at each division keeps loops scalar
    "nogil": True,  # other Python threads run while we compute
    # no fastmath: isnan would break, and bits would depend on the shape of the code
}


compile_options: Any = numba.njit  # numba's type hints do not know all options


def inner(f: Callable) -> Callable:
    """A helper: compiled into the functions that call it, never cached by itself, nor callable from Python.

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


def inlined(f: Callable) -> Callable:
    """A helper inlined before compilation: for what holds much machine code, lest that is optimised once more."""
    return compile_options(inline="always", **OPTIONS)(f)


def kernel(f: Callable) -> Any:
    """A public function: callable from Python and from `@njit`, cached on disk for every set of argument types.

    Its attribute `serial` is the same function compiled once more with `no_region` in place of its module's global
    `region`: it never enters a parallel region, nor links one.
    """
    alone: Any = FunctionType(f.__code__, {**f.__globals__, "region": no_region}, f.__name__, f.__defaults__)
    functools.update_wrapper(alone, f)
    del alone.__wrapped__
    dispatcher = _cached_dispatcher(f, ())
    dispatcher.serial = _cached_dispatcher(alone, ("serial",))
    return dispatcher


def _cached_dispatcher(f: Callable, key: tuple) -> Any:
    dispatcher = _with_plain_defaults(_refusing(_without_literals(compile_options(**OPTIONS)(f))))
    dispatcher._cache = package_cache(f, key)
    return dispatcher


def _refusing(dispatcher: Any) -> Any:
    """`dispatcher`, raising a TypeError that names the argument where numba has no type for an array's dtype."""
    compile_for = dispatcher._compile_for_args

    def compile_for_args(*args, **kws):
        try:
            return compile_for(*args, **kws)
        except (NotImplementedError, numba.errors.TypingError):
            given = inspect.signature(dispatcher.py_func).bind(*args, **kws).arguments
            for name, x in given.items():
                if isinstance(x, np.ndarray) and (
                    x.dtype.kind not in "biuf" or x.dtype == np.float16 or not x.dtype.isnative
                ):
                    raise TypeError(f"{name}: got dtype {x.dtype}, expected float32 or float64") from None
            raise

    dispatcher._compile_for_args = compile_for_args
    return dispatcher


def _with_plain_defaults(dispatcher: Any) -> Any:
    """`dispatcher`, with arguments left out in Python typed like their values: as numba's OmittedArg each costs 9 us."""
    arguments = tuple(inspect.signature(dispatcher.py_func).parameters)
    defaults = dispatcher.py_func.__defaults__ or ()
    types_, fold = dispatcher._tm.get_pointer(), dispatcher._fold_args
    numba._dispatcher.Dispatcher.__init__(
        dispatcher, types_, len(arguments), fold, arguments, defaults, True, False, False
    )
    return dispatcher


@intrinsic
def no_region(typingctx):
    """The address 0: what `kernel` puts in place of the parallel region."""
    return types.int64(), lambda context, builder, signature, args: I64(0)


# ---------------------------------------------------------------------------------------------------------- the cache


@functools.cache
def source_hash() -> str:
    """A hash of all of fastbp's sources: numba itself looks at the one file that a function stands in."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


class PackageCache(FunctionCache):
    """numba's file cache, keyed also by fastbp's sources, the options and `key`; broken files count as missing."""

    def __init__(self, f: Callable, key: tuple = ()):
        super().__init__(f)
        self._key = key

    def _index_key(self, sig, codegen):
        # `key` names what a factory closed over, in place of numba's pickle of the closure, which differs every run
        return (
            sig, codegen.magic_tuple(), source_hash(), self._key, tuple(OPTIONS.items()),
            bool(config.BOUNDSCHECK), np.__version__,
        )  # fmt: skip

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except StaleCaller:
            raise
        except Exception as error:  # a truncated or foreign file may fail in any way while it is unpickled
            self._warn("read", error)
            self._drop_index()
            return None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self._warn("write", error)

    def _drop_index(self):
        try:
            self.flush()
        except OSError as error:
            self._warn("write", error)

    def _warn(self, verb, error):
        warnings.warn(
            f"fastbp cannot {verb} its compiler cache in {self.cache_path}: {error!r}; compiling instead", stacklevel=2
        )


@functools.cache
def _warn_no_cache(reason: str) -> None:
    warnings.warn(
        f"fastbp compiles anew in every process: no folder for its compiler cache is writable ({reason}). "
        "Set NUMBA_CACHE_DIR to one that is.",
        stacklevel=4,
    )


def package_cache(f: Callable, key: tuple = ()):
    """The cache of one function, or none (and one warning) where no cache folder is writable."""
    try:
        return PackageCache(f, key)
    except RuntimeError:  # numba: "no locator available"
        folder = os.environ.get("NUMBA_CACHE_DIR")
        _warn_no_cache(f"NUMBA_CACHE_DIR={folder}" if folder else "the default folders")
        return NullCache()


# -------------------------------------------------------------------------------------------- code called by address


class StaleCaller(RuntimeError):  # noqa: N818 (it says what is stale)
    """A function that a user cached holds the calling convention of another version of fastbp."""


@functools.cache
def _say_compiling() -> None:
    print("fastbp: compiling kernels for this CPU, once", file=sys.stderr, flush=True)


class _CodeFunction(CFunc):
    """numba's CFunc, which forgets what its library wants done when it is loaded from the cache."""

    def _compile_uncached(self):
        _say_compiling()
        result = super()._compile_uncached()
        result.library._ensure_finalized()
        result.reload_init.extend(result.library._reload_init)
        return result


class Code:
    """A function of int64 arguments and result, compiled when first needed, that machine code calls by address.

    The address lies in a cell of memory with a symbol of its own. Any function that mentions the code makes sure, when
    it is compiled and again when it is loaded from a cache, that the cell is filled.
    """

    def __init__(self, f: Callable, place: tuple, *, cached: bool = True, needs_threads: bool = False, cell=None):
        self.function, self.place, self.cached, self.needs_threads = f, place, cached, needs_threads
        self.compiled: CFunc | None = None
        self._cell = ctypes.c_int64(0) if cell is None else cell
        self._symbol = _add_symbol(place, self._cell)

    def resolve(self) -> int:
        """The address; compiles, or loads from the cache, at the first call."""
        if self._cell.value == 0:
            with numba.core.compiler_lock.global_compiler_lock:
                if self._cell.value == 0:
                    self._compile()
        return self._cell.value

    def _compile(self):
        if self.needs_threads:
            start_threads()
        arity = self.function.__code__.co_argcount
        options = {**OPTIONS, "nopython": True}
        compiled = _CodeFunction(self.function, ((types.int64,) * arity, types.int64), {}, options)
        if self.cached:
            compiled._cache = package_cache(self.function, self.place)
        compiled.compile()
        self.compiled = compiled
        self._cell.value = compiled.address

    def emit_address(self, context, builder):
        """The address as an LLVM value, in a function that is being compiled."""
        return builder.load(_emit_cell(self, context, builder))


def call_code(address: int, *arguments: int) -> int:
    """Call the code at `address` from Python, without the GIL."""
    return int(ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(arguments))(address)(*arguments))


class CodeFamily:
    """The codes of one dtype for several names; machine code picks one by its number, so all are compiled together."""

    def __init__(self, members: list[Code], cells, place: tuple):
        self.members, self._cells, self.place = members, cells, place
        self._symbol = _add_symbol(place, cells)

    def resolve(self) -> None:
        for member in self.members:
            member.resolve()

    def emit_address(self, context, builder, number):
        return builder.load(builder.gep(_emit_cell(self, context, builder), [number]))


def _add_symbol(place: tuple, cell) -> str:
    symbol = ".".join(("fastbp", source_hash(), *place))
    llvm.add_symbol(symbol, ctypes.addressof(cell))
    return symbol


def _emit_cell(found: Code | CodeFamily, context, builder):
    """The first cell of the code or family, filled now, and again whenever the function being compiled is loaded."""
    found.resolve()
    context.active_code_library._reload_init.add(functools.partial(_resolve_again, found.place, source_hash()))
    module = builder.module
    cell = module.globals.get(found._symbol) or ir.GlobalVariable(module, I64, found._symbol)
    cell.linkage = "external"
    return cell


def _keep_hooks(rebuild: Callable) -> Callable:
    """numba's `CompileResult._rebuild`, mended: it runs what a library wants done on load, but does not leave that with
    the library it makes, so that functions linking a loaded one did not inherit it, and failed when they were loaded."""

    @functools.wraps(rebuild)
    def rebuilt(cls, *args):
        result = rebuild(*args)
        result.library._reload_init.update(result.reload_init)
        return result

    return rebuilt


CompileResult._rebuild = classmethod(_keep_hooks(CompileResult._rebuild))  # type: ignore


def _resolve_again(place: tuple, sources: str) -> None:
    """Runs when a cached function that calls code by address is loaded."""
    if sources != source_hash():
        raise StaleCaller(
            "a function cached with numba (cache=True) was compiled against another version of fastbp; "
            "delete its cache files (NUMBA_CACHE_DIR, or __pycache__ beside its source) to compile it again"
        )
    module, name, *variant = place
    getattr(importlib.import_module(module), name).of(*variant).resolve()


def code(f: Callable | None = None, *, needs_threads: bool = False) -> Any:
    """Make `f` callable by address. In compiled code `f()` is that address, an int64; in Python it is `f.of().resolve()`."""
    if f is None:
        return functools.partial(code, needs_threads=needs_threads)
    found = Code(f, (f.__module__, f.__name__), needs_threads=needs_threads)

    @intrinsic
    def address(typingctx):
        return types.int64(), lambda context, builder, signature, args: found.emit_address(context, builder)

    address.of = lambda: found
    return address


def dtype_name(x) -> str:
    """The dtype of the code for x, numba's type of an array or of a dtype: other dtypes get code that refuses them."""
    real = getattr(x, "dtype", x)
    return "float32" if real == types.float32 else "float64"


def code_per_dtype(make: Callable[[Any], Callable]) -> Any:
    """One function a dtype from `make(real)`, `real` being numba's float32 or float64.

    In compiled code `make(x)`, with x an array or numba's float32 or float64, is the address of the one for its dtype;
    in Python `make.of("float32")` is its Code.
    """
    place = (make.__module__, make.__name__)

    @functools.cache
    def of(dtype: str) -> Code:
        return Code(make(getattr(types, dtype)), (*place, dtype))

    @intrinsic
    def address(typingctx, x):
        found = of(dtype_name(x))
        return types.int64(x), lambda context, builder, signature, args: found.emit_address(context, builder)

    address.of = of
    return address


def code_family(names: Iterable[str]) -> Callable[[Callable[[Any, str], Callable]], Any]:
    """One function for each dtype and each of the names, from `make(real, name)`.

    In compiled code `make(x, number)` is the address of the one for the dtype of x and the name of that number, and with
    `f = make.single(name)` at module level `f(x)` that of the one by name; in Python `make.of("float32", name)` is its Code.
    Only the first compiles them all.
    """
    names = tuple(names)

    def decorate(make):
        place = (make.__module__, make.__name__)

        @functools.cache
        def family(dtype: str) -> CodeFamily:
            cells = (ctypes.c_int64 * len(names))()
            members = []
            for i, name in enumerate(names):
                cell = ctypes.c_int64.from_buffer(cells, 8 * i)
                members.append(Code(make(getattr(types, dtype), name), (*place, dtype, name), cell=cell))
            return CodeFamily(members, cells, (*place, dtype))

        def of(dtype: str, name: str | None = None):
            return family(dtype) if name is None else family(dtype).members[names.index(name)]

        def single(name):
            @intrinsic
            def address_of_one(typingctx, x):
                found = of(dtype_name(x), name)
                return types.int64(x), lambda context, builder, signature, args: found.emit_address(context, builder)

            return address_of_one

        @intrinsic
        def address(typingctx, x, number):
            found = family(dtype_name(x))
            return types.int64(x, types.int64), (
                lambda context, builder, signature, args: found.emit_address(context, builder, args[1])
            )

        address.of, address.single = of, single
        return address

    return decorate


# ------------------------------------------------------------------------------------------------------ the live state

SERIAL_PROCESS, ONLY_MAIN_THREAD, MAIN_THREAD, GET_NUM_THREADS, THREAD_IDENT = range(5)
_state = (ctypes.c_int64 * 8)()
_STATE_SYMBOL = "fastbp.state"
llvm.add_symbol(_STATE_SYMBOL, ctypes.addressof(_state))
_state[MAIN_THREAD] = threading.main_thread().ident or 0
_state[THREAD_IDENT] = ctypes.cast(ctypes.pythonapi.PyThread_get_thread_ident, ctypes.c_void_p).value or 0


@intrinsic
def state(typingctx, index):
    """One cell of the live state: what may change after compilation, since numba freezes Python's globals into code."""

    def codegen(context, builder, signature, args):
        module = builder.module
        cells = module.globals.get(_STATE_SYMBOL) or ir.GlobalVariable(
            module, ir.ArrayType(I64, len(_state)), _STATE_SYMBOL
        )
        cells.linkage = "external"
        return builder.load(builder.gep(cells, [I64(0), args[0]]))

    return types.int64(types.int64), codegen


@functools.cache
def start_threads() -> str:
    """Start numba's threading layer, unless it runs, and note what it can bear; returns its name."""
    from numba.np.ufunc import parallel

    parallel._launch_threads()
    layer = numba.threading_layer()
    _state[ONLY_MAIN_THREAD] = layer == "workqueue"  # it aborts the process when two threads enter it
    _state[GET_NUM_THREADS] = llvm.address_of_symbol("get_num_threads")
    return layer


def most_threads() -> int:
    """How many threads numba may ever use in this process."""
    return int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def _after_fork_in_child() -> None:
    # GNU OpenMP kills a forked child that enters a parallel region, and hangs a grandchild
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    if parallel is not None and parallel._is_initialized:  # by whomever
        _state[SERIAL_PROCESS] = 1
    _state[MAIN_THREAD] = threading.get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
