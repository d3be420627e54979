"""The verbs of a network for compiled code: what `fastbp.engine` exports, callable from Python and from `@njit`.

All take the NamedTuple of arrays that `Sequential.training(...)` returns; it shares memory with the network. Every verb has
a twin in `fastbp.engine.serial` that never starts a thread.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from fastbp.compiler.arguments import (
    ANY_INTEGER,
    CLEAR,
    COPIED,
    DELTA,
    FLOAT32,
    FLOAT64,
    GRADIENTS,
    INPUT_DELTA,
    LABEL_COLUMN,
    MOMENTS,
    NO_ROW,
    NO_WEIGHT,
    NOT_AN_ARRAY,
    NOT_ARRAY,
    NOT_HELD,
    NOTHING,
    ORDER,
    OUT,
    PARAMETERS,
    READ_ONLY,
    SAMPLE_WEIGHT,
    TOO_MANY_ROWS,
    TRAINING,
    WRONG_DTYPE,
    WRONG_LABEL,
    WRONG_NDIM,
    WRONG_SUM,
    WRONG_TARGET,
    WRONG_WEIGHT,
    Array,
    X,
    Y,
    check_apart,
    check_apart_from_any,
    check_floats,
    check_length,
    check_output,
    check_shape,
    describe,
    extent,
    kind_of_dtype,
    raise_fault,
    refuse,
)
from fastbp.compiler.arguments import NETWORK as NETWORK_NAME
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import I64, address_of, call, fetch, on_stack, read, write
from fastbp.compiler.raised import raise_noted
from fastbp.engine.minibatch import INT64_KIND, number_at
from fastbp.engine.steps import (
    AT_COST,
    AT_ROWS,
    AT_STOPPED,
    AT_WEIGHT,
    Slice,
    backward_minibatch,
    evaluate_slice,
    forward_minibatch,
    predict_slice,
    train_slice,
)
from fastbp.engine.table import AT_RAISED, NETWORK, Network
from fastbp.engine.turn import begin_turn, end_turn
from fastbp.engine.walk import update
from fastbp.kernels.loss_arguments import read_label
from fastbp.kernels.operands import output
from fastbp.parallel.region import region

OUTPUTS, BATCH_SIZE = NETWORK["outputs"] // 8, NETWORK["batch_size"] // 8


# ------------------------------------------------------------------------------------------------------------- checks


@intrinsic
def written(typingctx, training):
    """The address of the Network, of a Training that is going to be written to; where its type says that an array is
    read-only, the name of that array, negative, for `check_training` to refuse."""
    names = {"parameters": PARAMETERS, "gradients": GRADIENTS, "moments": MOMENTS}
    given = dict(zip(training.fields, training, strict=True))
    read_only = next((number for name, number in names.items() if not given[name].mutable), None)

    def codegen(context, builder, signature, args):
        if read_only is not None:
            return I64(-read_only)
        network = builder.extract_value(args[0], training.fields.index("network"))
        return builder.ptrtoint(context.make_array(given["network"])(context, builder, network).data, I64)

    return types.int64(training), codegen


@inner
def check_training(fault, network):
    """It is the address of a Network where it was laid down."""
    if network < 0:
        return refuse(fault, READ_ONLY, -network, 0, 0, 0, 0)
    if read(network, np.int64) != network:
        return refuse(fault, COPIED, TRAINING, 0, 0, 0, 0)
    return True


@inner
def check_real(fault, name, x, ndim):
    """x is an array of real numbers of `ndim` dimensions."""
    if x.kind < FLOAT32:
        return check_floats(fault, name, x, ndim, name, FLOAT32)
    if x.ndim != ndim:
        return check_floats(fault, name, Array(0, FLOAT32, x.ndim, 0, 0, 0, 0, 0), ndim, name, FLOAT32)
    return True


@inner
def check_x(fault, t, x, most):
    """x has the columns of the network's inputs, and 1 to `most` rows (0: any number)."""
    if not (check_real(fault, X, x, 2) and check_length(fault, X, 1, x.columns, NETWORK_NAME, t.inputs)):
        return False
    if most != 0 and (x.rows > most or x.rows < 1):
        return refuse(fault, TOO_MANY_ROWS, X, 0, x.rows, 0, most)
    return True


@inner
def check_some_rows(fault, x, order):
    """There is a row to go over."""
    if order.kind != NOTHING and order.rows < 1:
        return refuse(fault, TOO_MANY_ROWS, ORDER, 0, 0, 0, 0)
    return x.rows >= 1 or refuse(fault, TOO_MANY_ROWS, X, 0, 0, 0, 0)


@inner
def check_labels(fault, y, classes):
    for i in range(y.rows):
        label = read_label(y.address + i * y.row_stride, y.kind)
        if label < 0 or label >= classes:
            return refuse(fault, WRONG_LABEL, Y, i, label, 0, classes - 1)
    return True


@inner
def check_y(fault, t, x, y):
    """y has a label, or the targets of all outputs, for each row of x."""
    labels = y.ndim == 1 and t.takes_labels != 0
    if labels and (y.kind == FLOAT32 or y.kind == FLOAT64):
        return refuse(fault, WRONG_DTYPE, Y, 0, y.kind, -1, ANY_INTEGER)
    one_column = labels or (y.ndim == 1 and t.outputs == 1)
    if not check_real(fault, Y, y, 1 if one_column else 2):
        return False
    if t.takes_labels != 0 and y.ndim == 2 and y.columns == 1 and t.outputs > 1:
        return refuse(fault, LABEL_COLUMN, Y, 0, y.kind, NETWORK_NAME, t.outputs)
    if not (one_column or check_length(fault, Y, 1, y.columns, NETWORK_NAME, t.outputs)):
        return False
    return check_length(fault, Y, 0, y.rows, X, x.rows) and (not labels or check_labels(fault, y, t.outputs))


class Result(NamedTuple):
    """Where code leaves a number."""

    value: float


NO_RESULT = Result(0.0)


@inner
def bits_of(number):
    """A float64 as a Fault holds it."""
    return read(on_stack(Result(number)), np.int64)


@inner
def weight_at(weights, i):
    return 1.0 if weights.kind == NOTHING else number_at(weights.address + i * weights.row_stride, weights.kind)


@inner
def check_targets(fault, t, y, weights):
    """y holds targets that the cost can mean, in all rows whose weight is not 0."""
    expected = 2 if t.takes_labels != 0 else 1 if t.most_target < np.inf else 0
    for i in range(y.rows):
        total, wrong, outside = 0.0, 0.0, False
        for j in range(y.columns):
            target = number_at(y.address + i * y.row_stride + j * y.column_stride, y.kind)
            total += target
            if not t.least_target <= target <= t.most_target:
                wrong, outside = target, True
        if (outside or not abs(total - 1.0) <= t.sum_tolerance) and weight_at(weights, i) != 0:
            got = bits_of(wrong if outside else total)
            return refuse(fault, WRONG_TARGET if outside else WRONG_SUM, Y, i, got, 0, expected)
    return True


@inner
def check_meaning(fault, t, y, weights):
    """The cost can mean y, whose shape and labels are right: most costs take any numbers."""
    labels = t.takes_labels != 0 and y.ndim == 1
    return labels or t.least_target == -np.inf or check_targets(fault, t, y, weights)


def weights_checker(real):
    """check_weights(fault, x, weights, minibatch): weights are None, or numbers of at least 0 for each row of x, of which
    `real` holds the largest; those that it rounds to 0 count as 0 beside larger ones. All may be 0 in a minibatch."""
    kind = kind_of_dtype(real)

    @inner
    def check_weights(fault, x, weights, minibatch):
        if weights.kind == NOTHING:
            return True
        if not check_real(fault, SAMPLE_WEIGHT, weights, 1):
            return False
        largest, row = 0.0, 0
        for i in range(weights.rows):
            weight = weight_at(weights, i)
            if not (weight >= 0 and real(weight) < np.inf):
                return refuse(fault, WRONG_WEIGHT, SAMPLE_WEIGHT, i, bits_of(weight), 0, kind)
            if weight > largest:
                largest, row = weight, i
        if largest == 0 and weights.rows > 0 and not minibatch:
            return refuse(fault, NO_WEIGHT, SAMPLE_WEIGHT, 0, 0, 0, 0)
        if largest > 0 and real(largest) == 0:
            return refuse(fault, WRONG_WEIGHT, SAMPLE_WEIGHT, row, bits_of(largest), 0, kind)
        return check_length(fault, SAMPLE_WEIGHT, 0, weights.rows, X, x.rows)

    return check_weights


def holding_checker(real):
    """check_held(fault, name, x): `real` holds all finite numbers in x. Looked at where a result is not finite: before, it
    would cost a small network as much as its arithmetic."""
    kind = kind_of_dtype(real)

    @inner
    def check_held(fault, name, x):
        if kind == FLOAT64 or x.kind != FLOAT64:
            return True
        for i in range(x.rows):
            for j in range(x.columns):
                number = number_at(x.address + i * x.row_stride + j * x.column_stride, x.kind)
                if np.isfinite(number) and not np.isfinite(real(number)):
                    return refuse(fault, NOT_HELD, name, i, bits_of(number), 0, kind)
        return True

    return check_held


@inner
def all_finite(x):
    """Whether all numbers in the Array x are finite."""
    for i in range(x.rows):
        for j in range(x.columns):
            if not np.isfinite(number_at(x.address + i * x.row_stride + j * x.column_stride, x.kind)):
                return False
    return True


@inner
def check_order(fault, x, order):
    """order is None, or holds int64 row numbers of x."""
    if order.kind == NOTHING:
        return True
    if order.kind == NOT_AN_ARRAY:
        return refuse(fault, NOT_ARRAY, ORDER, 0, 0, 0, INT64_KIND)
    if order.kind != INT64_KIND:
        return refuse(fault, WRONG_DTYPE, ORDER, 0, order.kind, -1, INT64_KIND)
    if order.ndim != 1:
        return refuse(fault, WRONG_NDIM, ORDER, 0, order.ndim, 0, 1)
    for i in range(order.rows):
        row = read(order.address + i * order.row_stride, np.int64)
        if row < 0 or row >= x.rows:
            return refuse(fault, NO_ROW, ORDER, i, row, 0, x.rows - 1)
    return True


# -------------------------------------------------------------------------------------------------------------- codes


class Samples(NamedTuple):
    """Arguments of the verbs that go over samples: addresses of Arrays, and where the mean cost goes."""

    network: int
    x: int
    y: int
    weights: int
    order: int
    most: int  # rows that x may have; 0: any number
    cost: int  # address of a float64


def over_samples(slice_code):
    """Code that checks the Samples at `args`, runs a slice over all of them, and leaves the mean cost."""

    def make(real):
        check_weights, check_held = weights_checker(real), holding_checker(real)

        @inner
        def checked(t, a, x, y, weights, order, fault):
            return (
                check_x(fault, t, x, a.most)
                and check_y(fault, t, x, y)
                and check_weights(fault, x, weights, a.most != 0)
                and check_meaning(fault, t, y, weights)
                and check_order(fault, x, order)
                and check_some_rows(fault, x, order)
            )

        def samples_code(args, region, fault):
            a = fetch(Samples, args)
            if not check_training(fault, a.network):
                return 0
            t = fetch(Network, a.network)
            x, y, weights, order = fetch(Array, a.x), fetch(Array, a.y), fetch(Array, a.weights), fetch(Array, a.order)
            if checked(t, a, x, y, weights, order, fault) and begin_turn(a.network, fault):
                rows = x.rows if order.kind == NOTHING else order.rows
                s = on_stack(
                    Slice(a.network, a.x, a.y, a.weights, order.address, order.row_stride, 0, rows, 0, 0, 0.0, 0.0, -1)
                )
                call(slice_code(real), (s, region))
                weight = read(s + AT_WEIGHT, np.float64)
                cost = read(s + AT_COST, np.float64) / weight if weight != 0.0 else 0.0
                write(a.cost, cost if read(s + AT_STOPPED, np.int64) < 0 else np.nan)
                end_turn(a.network)
                if not np.isfinite(read(a.cost, np.float64)) and check_held(fault, X, x):
                    check_held(fault, Y, y)
            return 0

        return samples_code

    return make


@code_per_dtype
def train_code(real):
    return over_samples(train_slice)(real)


@code_per_dtype
def evaluate_code(real):
    return over_samples(evaluate_slice)(real)


@inner
def check_rows_and_out(fault, t, x, out, kind):
    return (
        check_x(fault, t, x, 0)
        and check_floats(fault, OUT, out, 2, NETWORK_NAME, kind)
        and check_shape(fault, OUT, out, x.rows, X, t.outputs, NETWORK_NAME)
        and check_output(fault, OUT, out)
        and check_apart_from_any(fault, OUT, out, X, x)
    )


@code_per_dtype
def forward_code(real):
    kind, check_held = kind_of_dtype(real), holding_checker(real)

    def forward_code(network, x, out, trains, region, fault):
        if not check_training(fault, network):
            return 0
        t, given, result = fetch(Network, network), fetch(Array, x), fetch(Array, out)
        if check_rows_and_out(fault, t, given, result, kind) and begin_turn(network, fault):
            s = on_stack(Slice(network, x, 0, 0, 0, 0, 0, given.rows, 0, out, 0.0, 0.0, -1))
            if trains != 0 and given.rows <= t.batch_size:
                call(forward_minibatch(real), (s, region))
            else:
                call(predict_slice(real), (s, region))
                write(network + AT_ROWS, 0)  # no backward pass may follow
            if kind != FLOAT64 and given.kind == FLOAT64 and not all_finite(result) and not check_held(fault, X, given):
                write(network + AT_ROWS, 0)
            end_turn(network)
        return 0

    return forward_code


@code_per_dtype
def backward_code(real):
    kind, size = kind_of_dtype(real), real.bitwidth // 8

    @inner
    def checked(t, d, below, fault):
        return (
            check_real(fault, DELTA, d, 2)
            and check_floats(fault, DELTA, d, 2, NETWORK_NAME, kind)
            and check_shape(fault, DELTA, d, t.rows, X, t.outputs, NETWORK_NAME)
            and (
                below.kind == NOTHING
                or (
                    check_floats(fault, INPUT_DELTA, below, 2, DELTA, kind)
                    and check_shape(fault, INPUT_DELTA, below, t.rows, X, t.inputs, X)
                    and check_output(fault, INPUT_DELTA, below)
                    and check_apart(fault, INPUT_DELTA, below, DELTA, d, size)
                )
            )
        )

    def backward_code(network, delta, input_delta, region, fault):
        # before the other checks: how many rows there are is the turn's
        if check_training(fault, network) and begin_turn(network, fault):
            below = fetch(Array, input_delta)
            if checked(fetch(Network, network), fetch(Array, delta), below, fault):
                into = input_delta if below.kind != NOTHING else 0
                call(backward_minibatch(real), (network, delta, into, region))
            end_turn(network)
        return 0

    return backward_code


@code_per_dtype
def step_code(real):
    def step_code(network, region, fault):
        if check_training(fault, network) and begin_turn(network, fault):
            call(update(real), (network, region))
            end_turn(network)
        return 0

    return step_code


# -------------------------------------------------------------------------------------------------------------- verbs


@kernel
def forward(training, x, out=None):
    """The output (K, outputs) of a forward pass of training over x (K, inputs), after which `backward` may follow.

    x: real numbers of any dtype and strides. Dropout acts. More rows than batch_size: as `predict`, and no `backward`.
    out: of the network's dtype, overwritten, allocated when None. Returns out. Raises ShapeError (a ValueError) or
    DtypeError (a TypeError).
    """
    result = output(out, training.parameters, extent(x, 0), training.network[OUTPUTS])
    fault, network = on_stack(CLEAR), address_of(training.network)
    call(forward_code(training.parameters), (network, describe(x), describe(result), 1, region(), fault))
    raise_fault(fault)
    raise_noted(network + AT_RAISED)
    return result


@kernel
def predict(training, x, out=None):
    """The output (rows, outputs) for x (rows, inputs), any number of rows, without dropout; otherwise as `forward`."""
    result = output(out, training.parameters, extent(x, 0), training.network[OUTPUTS])
    fault, network = on_stack(CLEAR), address_of(training.network)
    call(forward_code(training.parameters), (network, describe(x), describe(result), 0, region(), fault))
    raise_fault(fault)
    raise_noted(network + AT_RAISED)
    return result


@kernel
def backward(training, delta, input_delta=None):
    """All gradients, into `training.gradients`, from delta = dC/d(output) (K, outputs) of the last `forward`.

    input_delta (K, inputs) gets dC/dx; None: it is not computed. Raises ShapeError or DtypeError.
    """
    fault = on_stack(CLEAR)
    call(
        backward_code(training.parameters),
        (written(training), describe(delta), describe(input_delta), region(), fault),
    )
    raise_fault(fault)
    raise_noted(address_of(training.network) + AT_RAISED)


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
    cost, fault = on_stack(NO_RESULT), on_stack(CLEAR)
    most = training.network[BATCH_SIZE]
    block = Samples(written(training), describe(x), describe(y), describe(sample_weight), describe(None), most, cost)
    call(train_code(training.parameters), (on_stack(block), region(), fault))
    raise_fault(fault)
    raise_noted(address_of(training.network) + AT_RAISED)
    return read(cost, np.float64)


@kernel
def train_epoch(training, x, y, order=None, sample_weight=None):
    """Steps of training over the rows of x in `order` (int64 row numbers; None: as they lie), batch_size at a time, the
    last minibatch with what is left; returns the mean cost over the samples. Arguments otherwise as `train_step`.

    Stops, and returns NaN or raises what `train_step` does, before a step whose cost is not finite.
    """
    cost, fault = on_stack(NO_RESULT), on_stack(CLEAR)
    block = Samples(written(training), describe(x), describe(y), describe(sample_weight), describe(order), 0, cost)
    call(train_code(training.parameters), (on_stack(block), region(), fault))
    raise_fault(fault)
    raise_noted(address_of(training.network) + AT_RAISED)
    return read(cost, np.float64)


@kernel
def evaluate(training, x, y, sample_weight=None):
    """The mean cost over x (rows, inputs) and y, any number of rows, without training. Arguments as `train_step`."""
    cost, fault = on_stack(NO_RESULT), on_stack(CLEAR)
    block = Samples(
        address_of(training.network), describe(x), describe(y), describe(sample_weight), describe(None), 0, cost
    )
    call(evaluate_code(training.parameters), (on_stack(block), region(), fault))
    raise_fault(fault)
    raise_noted(address_of(training.network) + AT_RAISED)
    return read(cost, np.float64)
