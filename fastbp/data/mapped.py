"""Arrays in memory-mapped files: what was read of them is given back, so that they train without being loaded.

The pages of a mapped file count as a process's memory from when it touches them until it gives them back. They then stay in
the kernel's cache until their memory is needed, so that reading them again costs little.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator

import numpy as np

RESIDENT_BYTES = 2**27  # of an array that are read before they are given back
TOUCHED_BYTES = 2**21  # that reading a single row may map: Linux maps a whole folio, which may be this large


def file_of(x: np.ndarray | None) -> mmap.mmap | None:
    """Return the map that x is a view of, as from np.memmap or np.load(mmap_mode="r"), if its pages can be given back.

    Pages of mode "c" cannot: they may hold changes that no file has.
    """
    seen = False
    while isinstance(x, np.ndarray):
        if isinstance(x, np.memmap):
            seen = True
            if x.mode == "c":
                return None
        x = x.base
    return x if seen and isinstance(x, mmap.mmap) and hasattr(x, "madvise") else None


def too_large(*arrays: np.ndarray | None) -> list[np.ndarray]:
    """Return those of the arrays that lie in files and are larger than RESIDENT_BYTES."""
    return [x for x in arrays if x is not None and x.nbytes > RESIDENT_BYTES and file_of(x) is not None]


def give_back(x: np.ndarray, first: int = 0, last: int | None = None) -> None:
    """Give back the pages of rows `first` to `last`; does nothing for an array that is in no mapped file."""
    file = file_of(x)
    if file is not None:
        low, high = span(x[first:last])
        base = np.frombuffer(file, np.uint8).ctypes.data
        start = (low - base) // mmap.PAGESIZE * mmap.PAGESIZE
        file.madvise(mmap.MADV_DONTNEED, start, high - base - start)


@contextlib.contextmanager
def read_in_any_order(arrays: list[np.ndarray]) -> Iterator[None]:
    """Tell the kernel meanwhile that rows are read in any order: otherwise it would read ahead much around each row."""
    files = [file for file in map(file_of, arrays) if file is not None]
    for file in files:
        file.madvise(mmap.MADV_RANDOM)
    try:
        yield
    finally:
        for file in files:
            file.madvise(mmap.MADV_NORMAL)


def span(x: np.ndarray) -> tuple[int, int]:
    """Return the address of the first byte of x, and the address behind its last one."""
    reach = [(length - 1) * stride for length, stride in zip(x.shape, x.strides, strict=True)]
    address = x.ctypes.data
    return address + sum(min(r, 0) for r in reach), address + sum(max(r, 0) for r in reach) + x.itemsize


def rows_at_once(arrays: list[np.ndarray], shuffled: bool) -> int:
    """Return how many rows of each array may be read before they are given back; at least one."""
    return max(1, min(RESIDENT_BYTES // (x.nbytes // len(x) + TOUCHED_BYTES * shuffled) for x in arrays))
