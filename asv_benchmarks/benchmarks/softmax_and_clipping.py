"""The raw kernels beside layers, costs and optimizers: softmax of rows, clipping of a flat vector."""

import functools

import numpy as np

from benchmarks.cases import DTYPES, FAST, KERNEL_THREADS, MODULES, Call, Timed, draw, empty, use_threads
from benchmarks.clock import steady
from fastbp import kernels

LIMIT = 0.5


def softmax(module, z):
    out = empty(*z.shape, dtype=z.dtype)
    exponentials = np.exp(z)
    return Call(
        lambda: module.softmax(z, out),
        lambda: (out,),
        lambda: (exponentials / exponentials.sum(axis=1, keepdims=True),),
    )


def clip_by_norm(module, z):
    g = z.reshape(-1)
    expected = g * (LIMIT / np.linalg.norm(g))
    return Call(lambda: module.clip_by_norm(g, LIMIT), lambda: (g,), lambda: (expected,))


def clip_by_value(module, z):
    g = z.reshape(-1)
    expected = np.clip(g, -LIMIT, LIMIT)
    return Call(lambda: module.clip_by_value(g, LIMIT), lambda: (g,), lambda: (expected,))


CALLS = {f.__name__: f for f in (softmax, clip_by_norm, clip_by_value)}


def setup_cache() -> None:
    steady()
    for make in CALLS.values():
        for dtype in DTYPES:
            for module in (kernels, kernels.serial):
                make(module, draw(2, 3, dtype=dtype)).run()


@functools.cache
def call(kernel: str, shape: str, dtype: str, threads: str) -> Call:
    use_threads(threads)
    return CALLS[kernel](MODULES[threads], draw(*map(int, shape.split("x")), dtype=dtype))


class SoftmaxAndClipping(Timed):
    params = (("32x10",) if FAST else ("32x10", "256x1000"), DTYPES, KERNEL_THREADS)
    param_names = ("rows x columns", "dtype", "threads")

    def time_softmax(self, *case):
        call("softmax", *case).run()

    def time_clip_by_norm(self, *case):
        call("clip_by_norm", *case).run()

    def time_clip_by_value(self, *case):
        call("clip_by_value", *case).run()

    def check(self, *case):
        for kernel in CALLS:
            call.__wrapped__(kernel, *case).check()
