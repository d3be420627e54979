"""The ways to a minibatch's weight gradient, side by side: sample by sample, tiled and transposed, by BLAS, by the kernel."""

import functools

import numpy as np

from benchmarks.cases import FAST, SMALLEST_SHAPE, Call, Timed, draw, empty, sizes, use_threads
from benchmarks.clock import steady
from fastbp import kernels


def by_loop(delta, a, out):
    """Add up one outer product a sample."""
    out[:] = 0
    for k in range(len(delta)):
        out += np.outer(delta[k], a[k])


def by_tiling(delta, a, out):
    """Lay all outer products out at once, as columns of delta times rows of a, and add them up."""
    K, m, n = *delta.shape, a.shape[1]
    columns = np.tile(delta.reshape(K, m, 1), (1, 1, n))
    rows = np.tile(a, (1, m)).reshape(K, m, n)
    np.sum(columns * rows, axis=0, out=out)


def by_matmul(delta, a, out):
    """One product of BLAS."""
    np.matmul(delta.T, a, out=out)


WAYS = {f.__name__: f for f in (by_loop, by_tiling, by_matmul)} | {"by_kernel": kernels.weight_gradient}


def setup_cache() -> None:
    steady()
    make("by_kernel", "2x3x4").run()


@functools.cache
def call(way: str, shape: str) -> Call:
    use_threads("all")
    return make(way, shape)


def make(way: str, shape: str) -> Call:
    K, m, n = sizes(shape)
    delta, a, out = draw(K, m), draw(K, n, seed=1), empty(m, n)
    return Call(lambda: WAYS[way](delta, a, out), lambda: (out,), lambda: (delta.T @ a,))


class ThreeWays(Timed):
    params = (("32x128x784",) if FAST else (SMALLEST_SHAPE, "32x128x784", "128x512x784"),)
    param_names = ("batch x m x n",)

    def time_weight_gradient_by_loop(self, shape):
        call("by_loop", shape).run()

    def time_weight_gradient_by_tiling(self, shape):
        call("by_tiling", shape).run()

    def time_weight_gradient_by_matmul(self, shape):
        call("by_matmul", shape).run()

    def time_weight_gradient_by_kernel(self, shape):
        call("by_kernel", shape).run()

    def check(self, shape):
        for way in WAYS:
            call.__wrapped__(way, shape).check()
