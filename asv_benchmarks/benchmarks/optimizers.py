"""One pass of each optimizer over flat vectors."""

import functools

import numpy as np

from benchmarks.cases import DTYPES, FAST, KERNEL_THREADS, MODULES, Call, Timed, draw, empty, use_threads
from benchmarks.clock import steady
from fastbp import kernels

RATE = 1e-3
SIZES = (10_000,) if FAST else (10_000, 1_000_000)

# after the first step, from moments of zero: how far a parameter moves for a gradient g
FIRST_MOVES = {
    "sgd_step": lambda g: g,
    "momentum_step": lambda g: g,
    "adam_step": lambda g: g / (np.abs(g) + 1e-8),
    "adamw_step": lambda g: g / (np.abs(g) + 1e-8),
    "rmsprop_step": lambda g: g / (np.sqrt(0.1 * g * g) + 1e-8),
    "adagrad_step": lambda g: g / (np.abs(g) + 1e-10),
}
MOMENTS = {"momentum_step": 1, "adam_step": 2, "adamw_step": 2, "rmsprop_step": 1, "adagrad_step": 1}
NAMES = ("sgd_step", "adam_step") if FAST else tuple(FIRST_MOVES)


def setup_cache() -> None:
    steady()
    for rule in NAMES:
        for dtype in DTYPES:
            for module in (kernels, kernels.serial):
                make(module, rule, 2, dtype).run()


@functools.cache
def call(rule: str, size: int, dtype: str, threads: str) -> Call:
    use_threads(threads)
    return make(MODULES[threads], rule, size, dtype)


def make(module, rule: str, size: int, dtype: str) -> Call:
    parameters, gradients = draw(size, dtype=dtype), draw(size, dtype=dtype, seed=1)
    moments = [empty(size, dtype=dtype) for _ in range(MOMENTS.get(rule, 0))]
    for moment in moments:
        moment[:] = 0
    step = [1] if rule in ("adam_step", "adamw_step") else []
    kernel, decay = getattr(module, rule), {"weight_decay": 0.0}

    def expected():
        return (parameters - RATE * FIRST_MOVES[rule](gradients),)

    return Call(lambda: kernel(parameters, gradients, *moments, *step, RATE, **decay), lambda: (parameters,), expected)


class Optimizer(Timed):
    params = (SIZES, DTYPES, KERNEL_THREADS)
    param_names = ("parameters", "dtype", "threads")

    def check(self, *case):
        for rule in NAMES:
            call.__wrapped__(rule, *case).check()


def timed(rule: str):
    def time(self, size, dtype, threads):
        call(rule, size, dtype, threads).run()

    return time


for rule in NAMES:
    setattr(Optimizer, f"time_{rule}", timed(rule))
