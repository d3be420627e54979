"""Activations and their derivatives, element by element."""

import functools

import numpy as np

import fastbp as fb
from benchmarks.cases import DTYPES, FAST, KERNEL_THREADS, MODULES, Call, Timed, draw, empty, use_threads
from benchmarks.clock import steady
from fastbp import kernels

NAMES = ("relu", "tanh") if FAST else tuple(name.lower() for name in fb.Activation._fields)
ROWS = ("32x128",) if FAST else ("32x128", "1024x1024")
PLAIN = {"identity": lambda z: z, "relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}  # what NumPy can say for itself


def code_of(activation: str) -> int:
    return getattr(fb.Activation, activation.upper())


def activate(module, z, activation, out):
    code = code_of(activation)

    def expected():
        if activation in PLAIN:
            return (PLAIN[activation](z),)
        return (kernels.activate(z.astype(np.float64), code).astype(z.dtype),)

    return Call(lambda: module.activate(z, code, out), lambda: (out,), expected)


def activation_delta(module, z, activation, out):
    """The derivative of the activation, by delta = 1; expected: the central difference, in float64."""
    code, ones = code_of(activation), empty(*z.shape, dtype=z.dtype)
    ones[:] = 1
    stored = z if activation in ("gelu", "gelu_tanh", "silu", "mish") else kernels.activate(z, code)

    def expected():
        step, x = 1e-6, z.astype(np.float64)
        return ((kernels.activate(x + step, code) - kernels.activate(x - step, code)) / (2 * step),)

    return Call(lambda: module.activation_delta(ones, stored, code, out), lambda: (out,), expected, tolerance=1e-5)


CALLS = {"activate": activate, "activation_delta": activation_delta}


def setup_cache() -> None:
    steady()
    for dtype in DTYPES:  # one call compiles all activations of a dtype
        for make in CALLS.values():
            for module in (kernels, kernels.serial):
                make(module, draw(2, 3, dtype=dtype), "tanh", empty(2, 3, dtype=dtype)).run()


@functools.cache
def call(kernel: str, activation: str, shape: str, dtype: str, threads: str) -> Call:
    use_threads(threads)
    z = draw(*map(int, shape.split("x")), dtype=dtype)
    z += np.copysign(z.dtype.type(1e-3), z)  # no central difference across a kink at 0
    return CALLS[kernel](MODULES[threads], z, activation, empty(*z.shape, dtype=dtype))


class Activations(Timed):
    params = (NAMES, ROWS, DTYPES, KERNEL_THREADS)
    param_names = ("activation", "batch x m", "dtype", "threads")

    def time_activate(self, activation, shape, dtype, threads):
        call("activate", activation, shape, dtype, threads).run()

    def time_activation_delta(self, activation, shape, dtype, threads):
        call("activation_delta", activation, shape, dtype, threads).run()

    def check(self, *case):
        call.__wrapped__("activate", *case).check()
        call.__wrapped__("activation_delta", *case).check()
