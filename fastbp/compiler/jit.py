"""The door to numba's decorators: every flag with its reason, and the cache.

- `inner(f)`: a helper, compiled into whatever calls it; `inlined(f)`: the same, inlined before compilation.
- `kernel(f)`: a public function, callable from Python and from other people's `@njit` code.
- `python_function(f, types, key)`: for one set of types, called from Python at the least cost.
- code called by address: `_code.py`.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.extending import intrinsic as numba_intrinsic

from fastbp.compiler.live import NoThreadingLayer
from fastbp.compiler.refusal import refuse

I64 = ir.IntType(64)
intrinsic: Any = numba_intrinsic

OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # otherwise a branch to ZeroDivisionError at each division keeps loops scalar
    "nogil": True,  # other Python threads run while we compute
    # no fastmath: isnan would break, and bits would depend on the shape of the code
}


def compile_options(**options: Any) -> Any:
    """numba's decorator with those options; ImportError where numba is told not to compile."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise ImportError(
            "NUMBA_DISABLE_JIT: got 1, expected 0: fastbp is made of compiled functions and has no others; unset the "
            "variable, or leave fastbp out where you debug functions of your own as plain Python"
        )
    return numba.njit(**options)


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


def _for_any_layout(dispatcher: Any) -> Any:
    """`dispatcher`, compiled once for arrays of all layouts that come from Python, since it looks at their strides anyway."""
    compile_for = dispatcher._compile_for_args

    def compile_for_args(*args):
        given = [dispatcher.typeof_pyval(x) for x in args]
        taken = [t.copy(layout="A") if isinstance(t, types.Array) else t for t in given]
        if taken == given:
            return compile_for(*args)
        compiled = dispatcher.compile(tuple(taken))
        dispatcher._insert([t._code for t in given], compiled, False)
        return compiled

    dispatcher._compile_for_args = compile_for_args
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


def compile_for_callers(kernel: Any, arguments: tuple) -> None:
    """Compile a public function for compiled code that calls it with such arguments, and leaves out the others."""
    kernel.get_call_template(tuple(map(numba.typeof, arguments)), {})


def _cached_dispatcher(f: Callable, key: tuple) -> Any:
    dispatcher = _without_literals(compile_options(**OPTIONS)(f))
    dispatcher = _with_plain_defaults(_refusing(_for_any_layout(dispatcher)))
    dispatcher._cache = package_cache(f, key)
    return dispatcher


def python_function(f: Callable, argument_types: tuple, key: tuple) -> Callable:
    """`f` compiled for those types alone and cached, to be called from Python with arguments of just those types.

    Without numba's look at the arguments a call costs half as much. It keeps the GIL: for work of some microseconds,
    which two threads then cannot do at once in the same memory.
    """
    dispatcher = compile_options(**{**OPTIONS, "nogil": False})(f)
    dispatcher._cache = package_cache(f, key)
    dispatcher.compile(argument_types)
    return dispatcher.get_overload(argument_types)


def _refusing(dispatcher: Any) -> Any:
    """`dispatcher`, refusing arguments that numba has no type for with a sentence, before it compiles anything for them."""
    compile_for = dispatcher._compile_for_args

    def compile_for_args(*args, **kws):
        refuse(dispatcher.py_func, args, kws)
        return compile_for(*args, **kws)

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
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


class StaleCaller(RuntimeError):  # noqa: N818 (it says what is stale)
    """A function that a user cached holds the calling convention of another version of fastbp."""


class DamagedFile(ValueError):  # noqa: N818 (a warning says so)
    """A file of the compiler cache is not what was written."""


MAGIC = f"fastbp 1, numba {numba.__version__}\n".encode()  # what begins in another way is another version's
DIGEST_BYTES = 16


class CacheFile(IndexDataCacheFile):
    """numba's, for processes that compile at the same time, and for files that were damaged or exchanged.

    numba names a file by the next free number. Two processes took the same one for different functions, one of which was
    then loaded as the other: tanh as relu, say, and wrong results from then on. Here a hash of the key gives a file its name.

    A file holds a digest of its name and content: machine code with a flipped bit, or another function's, ends the process.
    """

    def _load_index(self):
        try:
            stamp, overloads = pickle.loads(self._read(self._index_path))
        except FileNotFoundError:
            return {}
        return overloads if stamp == self._source_stamp else {}

    def _save_index(self, overloads):
        self._write(self._index_path, self._dump((self._source_stamp, overloads)))

    def _load_data(self, name):
        return pickle.loads(self._read(self._data_path(name)))

    def _save_data(self, name, data):
        self._write(self._data_path(name), self._dump(data))

    def _read(self, path):
        with open(path, "rb") as file:
            magic, digest, content = file.read(len(MAGIC)), file.read(DIGEST_BYTES), file.read()
        if magic != MAGIC:
            raise FileNotFoundError(path)
        if digest != digest_of(path, content):
            raise DamagedFile(f"{os.path.basename(path)} is damaged")
        return content

    def _write(self, path, content):
        with self._open_for_write(path) as file:
            file.write(MAGIC + digest_of(path, content) + content)

    def save(self, key, data):
        digest = hashlib.sha256(self._dump(key)).digest()
        name = self._data_name(int.from_bytes(digest[:8], "big"))
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})  # an entry that another process loses is compiled again


def digest_of(path: str, content: bytes) -> bytes:
    """Of a file's name and content, whatever folder it lies in."""
    return hashlib.sha256(os.path.basename(path).encode() + b"\0" + content).digest()[:DIGEST_BYTES]


class PackageCache(FunctionCache):
    """numba's file cache, keyed also by fastbp's sources, the options and `key`; broken files count as missing."""

    def __init__(self, f: Callable, key: tuple = ()):
        super().__init__(f)
        self._key = key
        self._cache_file = CacheFile(self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp())

    def _index_key(self, sig, codegen):
        # `key` names what a factory closed over, in place of numba's pickle of the closure, which differs every run
        return (
            sig, codegen.magic_tuple(), source_hash(), self._key, tuple(OPTIONS.items()),
            bool(config.BOUNDSCHECK), np.__version__,
        )  # fmt: skip

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except (StaleCaller, NoThreadingLayer):
            raise
        except Exception as error:  # a damaged or foreign file may fail in any way while it is unpickled
            self._warn("read", error)
            self._drop_index()
            return None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except (OSError, DamagedFile) as error:
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
