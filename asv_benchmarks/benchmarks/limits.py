"""How far from the machine's limit, and from BLAS: ratios of times that were measured in turn, in the same process.

asv takes a smaller figure for a better one; so it is the time as a multiple of the time at the peak of fused multiply-adds, the
reciprocal of the fraction of the peak: 1.25 is 80 % of it.
"""

import functools
import time

import numpy as np

from benchmarks import kernels, three_ways, training
from benchmarks.cases import DTYPES, FAST, SHAPES, THREADS, WORKLOADS, Workload, sizes, skip

try:
    from fastbp.gemm.peak import fma_speed
except ImportError:
    fma_speed = None

ROUNDS = 5 if FAST else 20
SECONDS = 0.005  # of calls in a round


def seconds_per_call(f, calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        f()
    return (time.perf_counter() - began) / calls


def in_turn(f, measure) -> float:
    """The median of ratios of a call of f, in seconds, to what `measure` returns right before."""
    f()
    calls = max(1, round(SECONDS / seconds_per_call(f, 3)))
    return float(np.median([(1 / measure()) * seconds_per_call(f, calls) for _ in range(ROUNDS)]))


def over_peak(f, flops: float, dtype: str) -> float:
    if fma_speed is None:
        skip("this commit cannot measure the peak")
    halved = 2 if dtype == "float64" else 1  # fma_speed is float32's
    return in_turn(f, lambda: halved * flops / fma_speed())


def flops(shape: str) -> float:
    return 2.0 * np.prod(sizes(shape), dtype=float)


class KernelOverPeak:
    params = (SHAPES, DTYPES, THREADS[1:] if FAST else THREADS)
    param_names = ("batch x m x n", "dtype", "threads")
    unit = "of the time at peak"

    def track_dense_forward_over_peak(self, shape, dtype, threads):
        return over_peak(kernels.call("dense_forward", shape, dtype, threads).run, flops(shape), dtype)

    def track_propagate_delta_over_peak(self, shape, dtype, threads):
        return over_peak(kernels.call("propagate_delta", shape, dtype, threads).run, flops(shape), dtype)

    def track_weight_gradient_over_peak(self, shape, dtype, threads):
        return over_peak(kernels.call("weight_gradient", shape, dtype, threads).run, flops(shape), dtype)

    def check(self, *case):
        assert self.track_weight_gradient_over_peak(*case) > 0  # how much is the benchmark's to say, on a quiet machine


class TrainStepOverPeak:
    params = (WORKLOADS, THREADS[1:] if FAST else THREADS)
    param_names = ("network", "threads")
    unit = "of the time at peak"

    def track_train_step_over_peak(self, workload, threads):
        w = Workload.named(workload)
        return over_peak(training.steps(workload, threads)[1], training.STEPS * w.flops, w.dtype)

    def check(self, *case):
        assert self.track_train_step_over_peak(*case) > 0


class OverMatmul:
    """The time of the kernel as a multiple of that of np.matmul on the same arrays."""

    params = (SHAPES,)
    param_names = ("batch x m x n",)
    unit = "of np.matmul's time"

    def track_weight_gradient_over_matmul(self, shape):
        ways = {way: three_ways.call.__wrapped__(way, shape).run for way in ("by_kernel", "by_matmul")}
        seconds = functools.partial(seconds_per_call, ways["by_matmul"], 10)
        seconds()
        return in_turn(ways["by_kernel"], seconds)

    def check(self, shape):
        assert 0.001 < self.track_weight_gradient_over_matmul(shape) < 1000
