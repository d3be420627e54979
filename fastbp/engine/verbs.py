"""The verbs of a network for compiled code: what `fastbp.engine` exports, callable from Python and from `@njit`.

All take the NamedTuple of arrays that `Sequential.training(...)` returns; it shares memory with the network. Every verb has
a twin in `fastbp.engine.serial` that never starts a thread.
"""

from typing import NamedTuple

import numpy as np

from fastbp.compiler import names
from fastbp.compiler.arrays import FLOAT64, NOTHING, Array, describe, extent, kind_of_dtype
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.faults import CLEAR, raise_fault
from fastbp.compiler.jit import kernel
from fastbp.compiler.llvm import address_of, call, fetch, get, on_stack, place_of, places, put
from fastbp.compiler.raised import raise_noted
from fastbp.engine.by_hand import backward_minibatch, forward_minibatch
from fastbp.engine.checks import (
    Result,
    all_finite,
    check_rows_and_out,
    check_training,
    deltas_checker,
    holding_checker,
    samples_checker,
    written,
)
from fastbp.engine.infer import evaluate_slice, predict_slice
from fastbp.engine.slices import Slice, slice_of
from fastbp.engine.table import Network
from fastbp.engine.train import train_slice
from fastbp.engine.turn import begin_turn, end_turn
from fastbp.engine.walk import update
from fastbp.kernels.operands import output
from fastbp.parallel.region import region

OUTPUTS, BATCH_SIZE = (
    tuple(places(Network)).index(name) for name in ("outputs", "batch_size")
)  # in a Training's first array

# -------------------------------------------------------------------------------------------------------------- codes


class VerbArguments(NamedTuple):
    """Arguments of the verbs that go over samples: addresses of Arrays, and where the mean cost goes."""

    network: int
    x: int
    y: int
    weights: int
    order: int
    most: int  # rows that x may have; 0: any number
    cost: int  # address of a Result


def over_samples(slice_code):
    """Code that checks the VerbArguments at `args`, runs a slice over all samples, and leaves the mean cost."""

    def make(real):
        check_samples, check_held = samples_checker(real), holding_checker(real)

        def samples_code(args, region, fault):
            a = fetch(VerbArguments, args)
            if not check_training(fault, a.network):
                return 0
            t = fetch(Network, a.network)
            x, y, weights, order = fetch(Array, a.x), fetch(Array, a.y), fetch(Array, a.weights), fetch(Array, a.order)
            if check_samples(fault, t, x, y, weights, order, a.most) and begin_turn(a.network, fault):
                rows = x.rows if order.kind == NOTHING else order.rows
                s = on_stack(slice_of(a.network, a.x, a.y, a.weights, order.address, order.row_stride, rows, out=0))
                call(slice_code(real), (s, region))
                done = fetch(Slice, s)
                cost = done.cost / done.weight if done.weight != 0.0 else 0.0
                if done.stopped >= 0:
                    cost = np.nan
                put(a.cost, Result, "value", cost)
                end_turn(a.network)
                if not np.isfinite(cost) and check_held(fault, names.X, x):
                    check_held(fault, names.Y, y)
            return 0

        return samples_code

    return make


@code_per_dtype
def train_code(real):
    """train_code(args, region, fault): train on the samples of the VerbArguments at `args`."""
    return over_samples(train_slice)(real)


@code_per_dtype
def evaluate_code(real):
    """evaluate_code(args, region, fault): evaluate the samples of the VerbArguments at `args`."""
    return over_samples(evaluate_slice)(real)


@code_per_dtype
def forward_code(real):
    """forward_code(network, x, out, trains, region, fault): write the outputs for the Array at `x` into that at `out`; as a
    forward pass of training where `trains`, if x is one minibatch."""
    kind, check_held = kind_of_dtype(real), holding_checker(real)

    def forward_code(network, x, out, trains, region, fault):
        if not check_training(fault, network):
            return 0
        t, given, result = fetch(Network, network), fetch(Array, x), fetch(Array, out)
        if check_rows_and_out(fault, t, given, result, kind) and begin_turn(network, fault):
            s = on_stack(slice_of(network, x, y=0, weights=0, order=0, order_stride=0, rows=given.rows, out=out))
            if trains != 0 and given.rows <= t.batch_size:
                call(forward_minibatch(real), (s, region))
            else:
                call(predict_slice(real), (s, region))
                put(network, Network, "rows", 0)  # no backward pass may follow
            if (
                kind != FLOAT64
                and given.kind == FLOAT64
                and not all_finite(result)
                and not check_held(fault, names.X, given)
            ):
                put(network, Network, "rows", 0)
            end_turn(network)
        return 0

    return forward_code


@code_per_dtype
def backward_code(real):
    """backward_code(network, delta, input_delta, region, fault): compute all gradients from the Array at `delta`; the Array at
    `input_delta`, unless it is None, gets the delta of the inputs."""
    check_deltas = deltas_checker(real)

    def backward_code(network, delta, input_delta, region, fault):
        # the turn comes before the other checks: another thread's would change how many rows there are
        if check_training(fault, network) and begin_turn(network, fault):
            below = fetch(Array, input_delta)
            if check_deltas(fault, fetch(Network, network), fetch(Array, delta), below):
                into = input_delta if below.kind != NOTHING else 0
                call(backward_minibatch(real), (network, delta, into, region))
            end_turn(network)
        return 0

    return backward_code


@code_per_dtype
def step_code(real):
    """step_code(network, region, fault): update the parameters by the gradients."""

    def step_code(network, region, fault):
        if check_training(fault, network) and begin_turn(network, fault):
            call(update(real), (network, region))
            end_turn(network)
        return 0

    return step_code


# -------------------------------------------------------------------------------------------------------------- verbs


@kernel
def forward(training, x, out=None):
    """Return the output (K, outputs) of a forward pass of training over x (K, inputs), after which `backward` may follow.

    x: real numbers of any dtype and strides. Dropout acts. More rows than batch_size: as `predict`, and no `backward`.
    out: of the network's dtype, overwritten, allocated when None. Returns out. Raises ShapeError (a ValueError) or
    DtypeError (a TypeError).
    """
    result = output(out, training.parameters, extent(x, 0), training.network[OUTPUTS])
    fault, network = on_stack(CLEAR), address_of(training.network)
    call(forward_code(training.parameters), (network, describe(x), describe(result), 1, region(), fault))
    raise_fault(fault)
    raise_noted(place_of(network, Network, "raised"))
    return result


@kernel
def predict(training, x, out=None):
    """Return the output (rows, outputs) for x (rows, inputs), any number of rows, without dropout; otherwise as `forward`."""
    result = output(out, training.parameters, extent(x, 0), training.network[OUTPUTS])
    fault, network = on_stack(CLEAR), address_of(training.network)
    call(forward_code(training.parameters), (network, describe(x), describe(result), 0, region(), fault))
    raise_fault(fault)
    raise_noted(place_of(network, Network, "raised"))
    return result


@kernel
def backward(training, delta, input_delta=None):
    """Write all gradients, into `training.gradients`, from delta = dC/d(output) (K, outputs) of the last `forward`.

    input_delta (K, inputs) gets dC/dx; None: it is not computed. Raises ShapeError or DtypeError.
    """
    fault = on_stack(CLEAR)
    call(
        backward_code(training.parameters),
        (written(training), describe(delta), describe(input_delta), region(), fault),
    )
    raise_fault(fault)
    raise_noted(place_of(address_of(training.network), Network, "raised"))


@kernel
def step(training):
    """One update of the parameters by the gradients of the last `backward`, at `training.learning_rate[0]`."""
    fault = on_stack(CLEAR)
    call(step_code(training.parameters), (written(training), region(), fault))
    raise_fault(fault)


@kernel
def train_step(training, x, y, sample_weight=None):
    """One step of training on a minibatch of 1 to batch_size rows; returns its cost, from before the update.

    x (K, inputs): real numbers of any dtype; y: integer labels (K,), or targets (K, outputs); sample_weight (K,) or None.
    When the cost is not finite the step is not taken, and NaN is returned. Raises ShapeError or DtypeError, the first also
    for targets that the cost cannot mean, and in place of NaN for numbers that the network's dtype does not hold.
    """
    cost, fault = on_stack(Result(0.0)), on_stack(CLEAR)
    most = training.network[BATCH_SIZE]
    block = VerbArguments(
        network=written(training), x=describe(x), y=describe(y), weights=describe(sample_weight), order=describe(None),
        most=most, cost=cost,
    )  # fmt: skip
    call(train_code(training.parameters), (on_stack(block), region(), fault))
    raise_fault(fault)
    raise_noted(place_of(address_of(training.network), Network, "raised"))
    return get(cost, Result, "value")


@kernel
def train_epoch(training, x, y, order=None, sample_weight=None):
    """Steps of training over the rows of x in `order` (int64 row numbers; None: as they lie), batch_size at a time, the
    last minibatch with what is left; returns the mean cost over the samples. Arguments otherwise as `train_step`.

    Stops, and returns NaN or raises what `train_step` does, before a step whose cost is not finite.
    """
    cost, fault = on_stack(Result(0.0)), on_stack(CLEAR)
    block = VerbArguments(
        network=written(training), x=describe(x), y=describe(y), weights=describe(sample_weight), order=describe(order),
        most=0, cost=cost,
    )  # fmt: skip
    call(train_code(training.parameters), (on_stack(block), region(), fault))
    raise_fault(fault)
    raise_noted(place_of(address_of(training.network), Network, "raised"))
    return get(cost, Result, "value")


@kernel
def evaluate(training, x, y, sample_weight=None):
    """Return the mean cost over x (rows, inputs) and y, any number of rows, without training. Arguments as `train_step`."""
    cost, fault = on_stack(Result(0.0)), on_stack(CLEAR)
    block = VerbArguments(
        network=address_of(training.network), x=describe(x), y=describe(y), weights=describe(sample_weight),
        order=describe(None), most=0, cost=cost,
    )  # fmt: skip
    call(evaluate_code(training.parameters), (on_stack(block), region(), fault))
    raise_fault(fault)
    raise_noted(place_of(address_of(training.network), Network, "raised"))
    return get(cost, Result, "value")
