"""The table of operations walked over: forward goes down it, backward up, update along it; code compiled once a dtype.

All take the address of a Network and the address of the parallel region (0: one thread).
"""

import numpy as np

from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import array_at, call, fetch, on_stack, read, ticks, write
from fastbp.engine.table import (
    AT_RAISED,
    BACKWARD,
    FORWARD,
    GRADIENT,
    NETWORK,
    OPERATION_BYTES,
    Call,
    Network,
    Operation,
)
from fastbp.kernels.activation_passes import Backward
from fastbp.kernels.activations import FLOPS_PER_ELEMENT, Elementwise, elementwise
from fastbp.kernels.clipping import norm_maker
from fastbp.kernels.update_rules import CONSTANTS_BYTES, Update
from fastbp.parallel.sharing import share_out, shareable

AT_TRAINS, AT_UPDATES = (NETWORK[name] for name in ("trains", "updates"))


@inner
def now(t):
    """Return ticks, or 0 where no clock is set."""
    return ticks() if t.clock != 0 else 0


@inner
def count(t, operation, work, began):
    """Add the time since `began` to that of an operation's work."""
    if t.clock != 0:
        place = t.clock + 8 * (3 * operation + work)
        write(place, read(place, np.int64) + ticks() - began)


@inner
def has_raised(network):
    """Return whether a function of the user's has raised something in the call at hand."""
    return read(network + AT_RAISED, np.int64) != 0


@inner
def take_back_forward(t):
    """Uncount the last forward pass of training."""
    write(t.counters + 8, read(t.counters + 8, np.int64) - 1)


@inner
def last_operation(t):
    return fetch(Operation, t.operations + (t.length - 1) * OPERATION_BYTES)


@code_per_dtype
def forward(real):
    """forward(network, trains, region): write the outputs of all operations for the minibatch that the network holds."""

    def forward(network, trains, region):
        t = fetch(Network, network)
        write(network + AT_TRAINS, trains)
        if trains != 0:
            write(t.counters + 8, read(t.counters + 8, np.int64) + 1)
        for i in range(t.length):
            operation = t.operations + i * OPERATION_BYTES
            o, began = fetch(Operation, operation), now(t)
            share_out(region, o.forward, on_stack(Call(network, operation)), shareable(o.flops, t.rows))
            count(t, i, FORWARD, began)
            if has_raised(network):
                break
        return 0

    return forward


@code_per_dtype
def backward(real):
    """backward(network, updates, region): store all gradients, from the delta of the last operation, dC/d(output); or, if
    `updates`, update each operation's parameters as soon as the delta below no longer needs them."""
    size = real.bitwidth // 8

    @inner
    def apply_derivative(network, t, o, region):
        args = on_stack(Backward(0, 0, o.stored, o.stored_stride, network + AT_RAISED))
        block = on_stack(Elementwise(o.derivative, args, o.delta, o.delta_stride, t.rows, o.outputs, size))
        share_out(region, elementwise(), block, FLOPS_PER_ELEMENT * t.rows * o.outputs)

    @inner
    def add_delta(t, o):
        """Add the delta that an operation has written to that of an output which others read too."""
        for k in range(t.rows):
            target = array_at(o.adds_to + k * o.adds_to_stride, (o.inputs,), 0, real)
            target += array_at(o.input_delta + k * o.input_delta_stride, (o.inputs,), 0, real)

    def backward(network, updates, region):
        t = fetch(Network, network)
        write(network + AT_UPDATES, updates)
        for i in range(t.length - 1, -1, -1):
            operation = t.operations + i * OPERATION_BYTES
            o, began = fetch(Operation, operation), now(t)
            if o.derivative != 0:
                apply_derivative(network, t, o, region)
            flops = shareable(o.flops, t.rows)
            if i > 0 or o.gradient == 0 or t.wants_input_delta != 0:
                share_out(region, o.backward, on_stack(Call(network, operation)), flops)
                if o.adds_to != 0:
                    add_delta(t, o)
            count(t, i, BACKWARD, began)
            if o.gradient != 0:
                began = now(t)
                share_out(region, o.gradient, on_stack(Call(network, operation)), flops)
                count(t, i, GRADIENT, began)
            if has_raised(network):
                break
        return 0

    return backward


@code_per_dtype
def update(real):
    """update(network, region): make one step of the optimizer over the flat vectors."""
    size, norm_of = real.bitwidth // 8, norm_maker(real)

    @inner
    def clipping_scale(t, region):
        """Return what the gradient is multiplied by so that its norm is at most clip_norm; 1 where it is already."""
        if t.clip_norm == np.inf:
            return 1.0
        norm = norm_of(t.gradients, t.size, region)
        return t.clip_norm / norm if norm > t.clip_norm else 1.0

    @inner
    def update_range(t, start, count, decay, scale, region):
        if count > 0:
            at = size * start
            m, v = t.m + at if t.m != 0 else 0, t.v + at if t.v != 0 else 0
            arrays, numbers = (t.parameters + at, t.gradients + at, m, v, count), (t.h0, t.h1, t.h2, t.h3)
            rate, step = read(t.learning_rate, np.float64), read(t.counters, np.int64)
            args = on_stack(Update(*arrays, rate, *numbers, decay, scale, t.clip_value, step))
            share_out(region, t.update, args, 16.0 * count)

    def update(network, region):
        t = fetch(Network, network)
        write(t.counters, read(t.counters, np.int64) + 1)
        scale = clipping_scale(t, region)
        if t.weight_decay == 0.0:
            update_range(t, 0, t.size, 0.0, scale, region)
            return 0
        for i in range(t.length):  # weight decay touches some parameters of an operation, not all
            o = fetch(Operation, t.operations + i * OPERATION_BYTES)
            first, rest = o.at // size, o.parameter_count - o.decayed_count
            update_range(t, first, o.decayed_count, t.weight_decay, scale, region)
            update_range(t, first + o.decayed_count, rest, 0.0, scale, region)
        return 0

    return update


@code_per_dtype
def begin_update(real):
    """begin_update(network): count the update that a backward pass is going to make, and work out its constants."""

    def begin_update(network):
        t = fetch(Network, network)
        write(t.counters, read(t.counters, np.int64) + 1)
        rate, step = read(t.learning_rate, np.float64), read(t.counters, np.int64)
        numbers = (rate, t.h0, t.h1, t.h2, t.h3)
        weights = on_stack(Update(0, 0, 0, 0, 0, *numbers, t.weight_decay, 1.0, t.clip_value, step))
        biases = on_stack(Update(0, 0, 0, 0, 0, *numbers, 0.0, 1.0, t.clip_value, step))
        call(t.rule_constants, (weights, t.constants))
        call(t.rule_constants, (biases, t.constants + CONSTANTS_BYTES))
        return 0

    return begin_update
