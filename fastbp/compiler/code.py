"""Code called by address: it is compiled once, cached, and costs its callers a load and a call.

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
from numba.core.environment import Environment
from numba.extending import intrinsic as numba_intrinsic

from fastbp.compiler.cache import OPTIONS, StaleCaller, package_cache, source_hash
from fastbp.compiler.live import start_threads
from fastbp.compiler.numba_internals import mention_environment, named_environment, use_cache

I64 = ir.IntType(64)
intrinsic: Any = numba_intrinsic


@functools.cache
def _say_compiling() -> None:
    print("fastbp: compiling kernels for this CPU, once", file=sys.stderr, flush=True)


class _CodeFunction(CFunc):
    """numba's CFunc, which says when it compiles."""

    def _compile_uncached(self):
        _say_compiling()
        return super()._compile_uncached()


class Code:
    """A function of int64 arguments and result, compiled when first needed, that machine code calls by address.

    The address lies in a cell of memory with a symbol of its own. Any function that mentions the code makes sure, when
    it is compiled and again when it is loaded from a cache, that the cell is filled.
    """

    def __init__(self, f: Callable, place: tuple, *, cached: bool = True, needs_threads: bool = False, cell=None):
        self.function, self.place, self.cached, self.needs_threads = f, place, cached, needs_threads
        self.compiled: CFunc | None = None
        self._cell = ctypes.c_int64(0) if cell is None else cell
        self.symbol = _add_symbol(place, self._cell)
        self.requirement = _requirement(self.symbol, place)

    def resolve(self) -> int:
        """Return the address; the first call compiles the code, or loads it from the cache."""
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
            use_cache(compiled, package_cache(self.function, self.place))
        compiled.compile()
        self.compiled = compiled
        self._cell.value = compiled.address

    def emit_address(self, context, builder):
        """Emit the address, in a function that is being compiled."""
        return builder.load(_emit_cell(self, context, builder))


def call_code(address: int, *arguments: int) -> int:
    """Call the code at `address` from Python, without the GIL."""
    return int(ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(arguments))(address)(*arguments))


class CodeFamily:
    """The codes of one dtype for several names; machine code picks one by its number, so all are compiled together."""

    def __init__(self, members: list[Code], cells, place: tuple):
        self.members, self._cells, self.place = members, cells, place
        self.symbol = _add_symbol(place, cells)
        self.requirement = _requirement(self.symbol, place)

    def resolve(self) -> None:
        """Compile, or load from the cache, all members that are not there yet."""
        for member in self.members:
            member.resolve()

    def emit_address(self, context, builder, number):
        """Emit the address of the member of that number."""
        return builder.load(builder.gep(_emit_cell(self, context, builder), [number]))


def _add_symbol(place: tuple, cell) -> str:
    """Let machine code find the cell by a symbol, which is returned."""
    symbol = ".".join(("fastbp", source_hash(), *place))
    llvm.add_symbol(symbol, ctypes.addressof(cell))
    return symbol


def _emit_cell(found: Code | CodeFamily, context, builder):
    """Emit the first cell of the code or family; it is filled now, and again whenever the function being compiled is loaded."""
    found.resolve()
    module = builder.module
    mention_environment(found.requirement, context, module)
    cell = module.globals.get(found.symbol) or ir.GlobalVariable(module, I64, found.symbol)
    cell.linkage = "external"
    return cell


class Requirement(Environment):
    """Makes sure that the cell of some code is filled before numba loads a cached function that calls it.

    numba has a list of hooks for that (`reload_init`), which a function does not inherit from a loaded one that it links, and
    which a cached `CFunc` loses. Environments it passes on with the machine code: see `named_environment`. This one holds
    nothing, and fills the cell when it is unpickled.
    """

    place: tuple

    def __reduce__(self):
        return _resolve_again, (self.place, source_hash())


def _requirement(symbol: str, place: tuple) -> Requirement:
    requirement = named_environment(Requirement, symbol)
    requirement.place = place
    return requirement


def _resolve_again(place: tuple, sources: str) -> Requirement:
    """Fill the cell of the code at `place`; refuse what was compiled against other sources."""
    if sources != source_hash():
        raise StaleCaller(
            "a function cached with numba (cache=True) was compiled against another version of fastbp; "
            "delete its cache files (NUMBA_CACHE_DIR, or __pycache__ beside its source) to compile it again"
        )
    module, name, *variant = place
    found = getattr(importlib.import_module(module), name).of(*variant)
    found.resolve()
    return found.requirement


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
    """Return the dtype of the code for x, which is numba's type of an array or of a dtype. Others get code that refuses
    them."""
    real = getattr(x, "dtype", x)
    return "float32" if real == types.float32 else "float64"


def code_per_dtype(make: Callable[[Any], Callable]) -> Any:
    """Make one function a dtype with `make(real)`, `real` being numba's float32 or float64.

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
    """Make one function for each dtype and each of the names with `make(real, name)`.

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
