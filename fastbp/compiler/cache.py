"""The compiler cache: numba's, keyed by all of fastbp's sources, and safe from other processes and damaged files."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import config
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache

from fastbp.compiler.live import NoThreadingLayer

OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # otherwise a branch to ZeroDivisionError at each division keeps loops scalar
    "nogil": True,  # other Python threads run while we compute
    # no fastmath: isnan would break, and bits would depend on the shape of the code
}


@functools.cache
def source_hash() -> str:
    """Return a hash of all of fastbp's sources: numba itself looks at the one file that a function stands in."""
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
    """numba's cache file, for processes that compile at the same time, and for files that were damaged or exchanged.

    numba names a file by the next free number. Two processes took the same number for different functions, one of which was
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
    """Return the digest of a file's name and content, whatever folder it lies in."""
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
    """Return the cache of one function, or none (and one warning) where no cache folder is writable."""
    try:
        return PackageCache(f, key)
    except RuntimeError:  # numba: "no locator available"
        folder = os.environ.get("NUMBA_CACHE_DIR")
        _warn_no_cache(f"NUMBA_CACHE_DIR={folder}" if folder else "the default folders")
        return NullCache()
