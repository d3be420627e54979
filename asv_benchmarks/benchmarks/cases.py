"""What the benchmarks work on: the profile, shapes, networks and data; and how a benchmark's result is checked.

FASTBP_PROFILE=fast takes few cases, for every change; without it all are measured.
"""

import itertools
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from asv_runner.benchmarks.mark import SkipNotImplemented

import fastbp as fb
from benchmarks.clock import steady
from fastbp import kernels

FAST = os.environ.get("FASTBP_PROFILE") == "fast"
DTYPES = ("float32",) if FAST else ("float32", "float64")
THREADS = ("1", "all")
MODULES = {"1": kernels, "all": kernels, "serial": kernels.serial}  # of raw kernels, by threads
KERNEL_THREADS = ("1",) if FAST else tuple(MODULES)
SMALLEST_SHAPE = "32x10x64"  # batch x m x n
SHAPES = ("32x128x784", "128x512x784") if FAST else (
    SMALLEST_SHAPE, "32x64x64", "10x30x784", "32x128x784", "64x256x256", "200x100x784", "128x512x784", "256x1024x1024",
)  # fmt: skip


class Timed:
    """What all benchmarks of time share.

    They have no `setup`, which would make asv time single calls. Arrays are made, code is loaded and threads are started by the
    first call in a process, and asv's warm-up must outlast that call, or it takes it for the usual duration. Compilation would
    be too long: modules compile in `setup_cache`, which asv runs ahead in another process.
    """

    timer = steady
    rounds = 2
    repeat = (5, 8, 2.0)
    warmup_time = 0.45
    sample_time = 0.005


class Call(NamedTuple):
    """What is timed; the arrays that it leaves; and what they should be after one call, as a share of the largest."""

    run: Callable[[], Any]
    results: Callable[[], tuple[np.ndarray, ...]]
    expected: Callable[[], tuple[np.ndarray, ...]]
    tolerance: float = 0.0  # where the expectation is no more exact than that

    def check(self) -> None:
        """Call it for the first time; AssertionError if the results are not those expected."""
        expected = self.expected()
        self.run()
        for result, wanted in zip(self.results(), expected, strict=True):
            share = max(1e3 * float(np.finfo(result.dtype).eps), self.tolerance)
            np.testing.assert_allclose(result, wanted, rtol=0, atol=share * np.abs(wanted).max(initial=1e-30))


def use_threads(threads: str) -> None:
    """'1', 'serial', or 'all'."""
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS if threads == "all" else 1)


def skip(reason: str) -> None:
    """Leave the benchmark out, with the reason in asv's log."""
    raise SkipNotImplemented(reason)


arrays = itertools.count()


def empty(*shape: int, dtype: str = "float32") -> np.ndarray:
    """An array at the start of a cache line, each at another distance from the start of a page, the same in every process.

    A kernel that reads its input once takes 40 % longer where rows begin within a cache line.
    """
    line, page = 64, 4096
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + 2 * page, np.uint8)
    start = -room.ctypes.data % page + line * (11 * next(arrays) % (page // line))
    return room[start : start + size].view(dtype).reshape(shape)


def draw(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Normal random numbers."""
    out = empty(*shape, dtype=dtype)
    out[:] = np.random.default_rng(seed).standard_normal(shape)
    return out


def sizes(shape: str) -> list[int]:
    return [int(size) for size in shape.split("x")]


class Workload(NamedTuple):
    """A network of dense layers and how it is trained, on softmax cross-entropy."""

    layers: tuple[int, ...]
    batch_size: int
    activation: str
    optimizer: str
    dtype: str

    @classmethod
    def named(cls, name: str) -> "Workload":
        layers, batch_size, activation, optimizer, dtype = name.split()
        return cls(tuple(map(int, layers.split("-"))), int(batch_size[1:]), activation, optimizer, dtype)

    @property
    def flops(self) -> float:
        """Of the matrix products of a step; the first layer propagates no delta."""
        pairs = itertools.pairwise(self.layers)
        return sum(2.0 * self.batch_size * n * m * (3 if i else 2) for i, (n, m) in enumerate(pairs))

    def network(self) -> fb.Sequential:
        *hidden, last = itertools.pairwise(self.layers)
        layers = [fb.Dense(n, m, activation=self.activation) for n, m in hidden]
        return fb.Sequential(*layers, fb.Dense(*last), dtype=self.dtype, seed=0)

    def data(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """x and y for so many minibatches."""
        rows = steps * self.batch_size
        labels = np.random.default_rng(1).integers(0, self.layers[-1], rows)
        return draw(rows, self.layers[0], dtype=self.dtype), labels

    def rule(self) -> fb.SGD | fb.Adam:
        return {"sgd": fb.SGD, "adam": fb.Adam}[self.optimizer](1e-3)


SMALLEST_WORKLOAD = "4-32-32-2 b32 relu sgd float32"
WORKLOADS = (
    SMALLEST_WORKLOAD,
    "784-128-10 b32 relu sgd float32",
    "784-512-512-10 b128 relu adam float32",
) if FAST else (
    SMALLEST_WORKLOAD,
    "64-64-10 b32 relu sgd float32",
    "17-64-64-6 b64 tanh adam float32",
    "784-30-10 b10 relu sgd float32",
    "784-128-10 b32 relu sgd float32",
    "784-100-10 b200 relu adam float32",
    "256-256-256-10 b64 relu sgd float32",
    "28-300-300-300-300-300-2 b100 tanh sgd float32",
    "784-512-512-10 b128 relu sgd float32",
    "784-512-512-10 b128 relu adam float32",
    "1024-1024-1024-10 b256 relu sgd float32",
    "784-128-10 b32 relu sgd float64",
)  # fmt: skip
