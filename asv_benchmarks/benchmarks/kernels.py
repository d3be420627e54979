"""The raw kernels of a dense layer: on one thread, on all, and their serial twins."""

import functools
import math

import numpy as np

import fastbp as fb
from benchmarks.cases import DTYPES, FAST, MODULES, SHAPES, THREADS, Call, Timed, draw, empty, sizes, skip, use_threads
from benchmarks.clock import steady
from fastbp import kernels

RELU = fb.Activation.RELU
SHARED_ENOUGH = 10_000_000  # multiply-adds


def dense_forward(module, K, m, n, dtype):
    a, w, b, out = (
        draw(K, n, dtype=dtype),
        draw(m, n, dtype=dtype, seed=1),
        draw(m, dtype=dtype),
        empty(K, m, dtype=dtype),
    )
    return Call(lambda: module.dense_forward(a, w, b, RELU, out), lambda: (out,), lambda: (np.maximum(a @ w.T + b, 0),))


def propagate_delta(module, K, m, n, dtype):
    delta, w = draw(K, m, dtype=dtype), draw(m, n, dtype=dtype, seed=1)
    below, out = draw(K, n, dtype=dtype), empty(K, n, dtype=dtype)
    np.maximum(below, 0, out=below)
    return Call(
        lambda: module.propagate_delta(delta, w, below, RELU, out), lambda: (out,), lambda: (delta @ w * (below > 0),)
    )


def weight_gradient(module, K, m, n, dtype):
    delta, a, out = draw(K, m, dtype=dtype), draw(K, n, dtype=dtype, seed=1), empty(m, n, dtype=dtype)
    return Call(lambda: module.weight_gradient(delta, a, out), lambda: (out,), lambda: (delta.T @ a,))


def bias_gradient(module, K, m, n, dtype):
    delta, out = draw(K, m, dtype=dtype), empty(m, dtype=dtype)
    return Call(lambda: module.bias_gradient(delta, out), lambda: (out,), lambda: (delta.sum(axis=0),))


CALLS = {f.__name__: f for f in (dense_forward, propagate_delta, weight_gradient, bias_gradient)}


def setup_cache() -> None:
    """Compile into the commit's cache; asv does this once, ahead."""
    steady()
    for make in CALLS.values():
        for dtype in DTYPES:
            for module in (kernels, kernels.serial):
                make(module, 2, 3, 4, dtype).run()


@functools.cache
def call(kernel: str, shape: str, dtype: str, threads: str) -> Call:
    """A kernel on arrays of its own; "serial" is its serial twin."""
    if FAST and threads == "all" and math.prod(sizes(shape)) < SHARED_ENOUGH:
        skip("so short on several threads that its time differs by half from process to process")
    use_threads(threads)
    return CALLS[kernel](MODULES[threads], *sizes(shape), dtype)


class Kernel(Timed):
    params = (SHAPES, DTYPES, THREADS if FAST else tuple(MODULES))
    param_names = ("batch x m x n", "dtype", "threads")


class DenseForward(Kernel):
    """relu(a @ w.T + b)"""

    def time_dense_forward(self, shape, dtype, threads):
        call("dense_forward", shape, dtype, threads).run()

    def check(self, *case):
        call.__wrapped__("dense_forward", *case).check()


class PropagateDelta(Kernel):
    """(delta @ w) * relu'(a)"""

    def time_propagate_delta(self, shape, dtype, threads):
        call("propagate_delta", shape, dtype, threads).run()

    def check(self, *case):
        call.__wrapped__("propagate_delta", *case).check()


class WeightGradient(Kernel):
    """delta.T @ a"""

    def time_weight_gradient(self, shape, dtype, threads):
        call("weight_gradient", shape, dtype, threads).run()

    def check(self, *case):
        call.__wrapped__("weight_gradient", *case).check()


class BiasGradient(Kernel):
    """The column sums of delta."""

    def time_bias_gradient(self, shape, dtype, threads):
        call("bias_gradient", shape, dtype, threads).run()

    def check(self, *case):
        call.__wrapped__("bias_gradient", *case).check()
