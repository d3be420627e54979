"""Code called by address: compiled once, cached, and costs its callers a load and a call.

numba links every callee into every caller and optimises it there again. `code(f)`, `code_per_dtype(make)` and
`code_family(names)(make)` keep a function apart: compiled code mentions its address alone.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.extending import intrinsic as numba_intrinsic

from fastbp.compiler.jit import OPTIONS, StaleCaller, package_cache, source_hash
from fastbp.compiler.live import start_threads

I64 = ir.IntType(64)
intrinsic: Any = numba_intrinsic


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

    def run(self, *arguments: int) -> int:
        """Call it from Python, without the GIL."""
        self.resolve()
        assert self.compiled is not None
        return self.compiled.ctypes(*arguments)

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
