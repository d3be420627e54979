"""Costs and their derivatives over a minibatch."""

import functools

import numpy as np

from benchmarks.cases import DTYPES, FAST, KERNEL_THREADS, MODULES, Call, Timed, draw, empty, use_threads
from benchmarks.clock import steady
from fastbp import kernels

ALL = (
    "softmax_cross_entropy", "negative_log_likelihood", "binary_cross_entropy", "mean_squared_error",
    "mean_absolute_error", "huber", "poisson", "quantile",
)  # fmt: skip
NAMES = ("softmax_cross_entropy", "mean_squared_error") if FAST else ALL
ROWS = ("32x10",) if FAST else ("32x10", "256x1000")


def output_and_target(cost: str, rows: int, columns: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    z = draw(rows, columns, dtype=dtype)
    if cost == "softmax_cross_entropy":
        return z, np.random.default_rng(1).integers(0, columns, rows)
    if cost == "negative_log_likelihood":
        p = np.exp(z)
        return p / p.sum(axis=1, keepdims=True), np.random.default_rng(1).integers(0, columns, rows)
    y = draw(rows, columns, dtype=dtype, seed=1)
    return z, {"binary_cross_entropy": y > 0, "poisson": np.abs(y)}.get(cost, y).astype(dtype)


def setup_cache() -> None:
    steady()
    for cost in NAMES:
        for dtype in DTYPES:
            for module in (kernels, kernels.serial):
                make(module, cost, "2x3", dtype).run()


@functools.cache
def call(cost: str, shape: str, dtype: str, threads: str) -> Call:
    use_threads(threads)
    return make(MODULES[threads], cost, shape, dtype)


def make(module, cost: str, shape: str, dtype: str) -> Call:
    """Checked along one random direction, by central differences in float64."""
    kernel, (z, y) = getattr(module, cost), output_and_target(cost, *map(int, shape.split("x")), dtype)
    out, along = empty(*z.shape, dtype=dtype), draw(*z.shape, dtype="float64", seed=2)

    def expected():
        exact, exact_y = z.astype(np.float64), y if y.dtype == np.int64 else y.astype(np.float64)
        step = 1e-8  # neither across a kink nor far in terms of a small probability
        difference = kernel(exact + step * along, exact_y)[0] - kernel(exact - step * along, exact_y)[0]
        return (np.array([difference / (2 * step)]),)

    return Call(lambda: kernel(z, y, out), lambda: (np.array([np.sum(out * along)]),), expected, tolerance=1e-4)


class Cost(Timed):
    params = (ROWS, DTYPES, KERNEL_THREADS)
    param_names = ("batch x m", "dtype", "threads")

    def check(self, *case):
        for cost in NAMES:
            call.__wrapped__(cost, *case).check()


def timed(cost: str):
    def time(self, shape, dtype, threads):
        call(cost, shape, dtype, threads).run()

    return time


for cost in NAMES:
    setattr(Cost, f"time_{cost}", timed(cost))
