"""Dropout as an operation of the table (Srivastava et al. 2014, in its inverted form).

    forward:  output = input * mask / (1 - rate), with mask = 1 where a random number is at least `rate`, else 0
    backward: input_delta = delta * mask / (1 - rate)

The random numbers are counter-based: a hash of seed, forward pass, operation and element (the finalizer of SplitMix64,
Steele, Lea & Flood 2014), so they are the same for any number of threads, and the backward pass computes them again.
In inference the output is the input.
"""

import functools
from typing import NamedTuple

import numpy as np

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import fetch, read, write
from fastbp.engine.operations.base import input_of, operands
from fastbp.parallel.parts import share

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@inner
def mixed(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@inner
def stream_key(seed, forward_pass, number):
    """Return the key of one operation's random numbers in one forward pass."""
    key = mixed(np.uint64(seed) + GOLDEN)
    key = mixed(key + np.uint64(forward_pass) * GOLDEN)
    return mixed(key + np.uint64(number + 1) * GOLDEN)


@inner
def uniform(key, element):
    """Return a number in [0, 1) with 53 random bits."""
    return np.float64(mixed(key + np.uint64(element + 1) * GOLDEN) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


class DropoutOwn(NamedTuple):
    """A dropout operation's own record."""

    rate: int  # address of a float64


@inner
def rate_now(t, o):
    """Return the rate in training, 0 otherwise."""
    return read(fetch(DropoutOwn, o.own).rate, np.float64) if t.trains != 0 else 0.0


@functools.cache  # compiled once for all that use it
def masked_copy(real):
    size = real.bitwidth // 8

    @inner
    def copy(target, target_stride, source, source_stride, first, rows, columns, key, rate):
        scale = real(1.0 / (1.0 - rate))
        for i in range(first, first + rows):
            for j in range(columns):
                kept = rate == 0.0 or uniform(key, i * columns + j) >= rate
                x = read(source + i * source_stride + size * j, real)
                write(target + i * target_stride + size * j, x * scale if kept else real(0.0))

    return copy


@code_per_dtype
def dropout_forward(real):
    copy = masked_copy(real)

    def dropout_forward(args, part, parts):
        _, t, o = operands(args)
        x, x_stride = input_of(t, o)
        first, rows = share(t.rows, 1, part, parts)
        rate = rate_now(t, o)
        key = stream_key(t.seed, read(t.counters + 8, np.int64), o.number)
        copy(o.output, o.output_stride, x, x_stride, first, rows, o.outputs, key, rate)
        return 0

    return dropout_forward


@code_per_dtype
def dropout_backward(real):
    copy = masked_copy(real)

    def dropout_backward(args, part, parts):
        _, t, o = operands(args)
        first, rows = share(t.rows, 1, part, parts)
        rate = rate_now(t, o)
        key = stream_key(t.seed, read(t.counters + 8, np.int64), o.number)
        copy(o.input_delta, o.input_delta_stride, o.delta, o.delta_stride, first, rows, o.outputs, key, rate)
        return 0

    return dropout_backward
