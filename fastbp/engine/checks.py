"""What the verbs check before they work: a Training, samples, gradients, and room for results.

Each check returns whether all is well; if not it has described the fault in the Fault at the address `fault`.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from fastbp.compiler import arguments as arg
from fastbp.compiler import faults, names
from fastbp.compiler.arrays import FLOAT32, FLOAT64, NOT_AN_ARRAY, NOTHING, Array, kind_of_dtype
from fastbp.compiler.faults import bits_of, refuse
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import I64, get, read
from fastbp.engine.minibatch import INT64_KIND, number_at
from fastbp.engine.table import Network
from fastbp.kernels.loss_arguments import read_label


@intrinsic
def written(typingctx, training):
    """Return the address of the Network of a Training that is going to be written to; where the type says that an array of
    it is read-only, the negative of that array's name, for `check_training` to refuse."""
    numbers = {"parameters": names.PARAMETERS, "gradients": names.GRADIENTS, "moments": names.MOMENTS}
    given = dict(zip(training.fields, training, strict=True))
    read_only = next((number for name, number in numbers.items() if not given[name].mutable), None)

    def codegen(context, builder, signature, args):
        if read_only is not None:
            return I64(-read_only)
        network = builder.extract_value(args[0], training.fields.index("network"))
        return builder.ptrtoint(context.make_array(given["network"])(context, builder, network).data, I64)

    return types.int64(training), codegen


@inner
def check_training(fault, network):
    """`network` is the address of a Network where it was laid down, none of a copy."""
    if network < 0:
        return refuse(fault, faults.READ_ONLY, -network)
    if get(network, Network, "address") != network:
        return refuse(fault, faults.COPIED, names.TRAINING)
    return True


@inner
def as_float32(x):
    """Return an Array of float32 with the dimensions of x."""
    return Array(address=0, kind=FLOAT32, ndim=x.ndim, rows=0, columns=0, row_stride=0, column_stride=0, writable=0)


@inner
def check_real(fault, name, x, ndim):
    """x is an array of real numbers of `ndim` dimensions."""
    if x.kind < FLOAT32:
        return arg.check_floats(fault, name, x, ndim, name, FLOAT32)
    if x.ndim != ndim:
        return arg.check_floats(fault, name, as_float32(x), ndim, name, FLOAT32)
    return True


@inner
def check_x(fault, t, x, most):
    """x has the columns of the network's inputs, and 1 to `most` rows (0: any number)."""
    if not (
        check_real(fault, names.X, x, 2) and arg.check_length(fault, names.X, 1, x.columns, names.NETWORK, t.inputs)
    ):
        return False
    if most != 0 and (x.rows > most or x.rows < 1):
        return refuse(fault, faults.TOO_MANY_ROWS, names.X, got=x.rows, expected=most)
    return True


@inner
def check_some_rows(fault, x, order):
    """There is at least one row to go over."""
    if order.kind != NOTHING and order.rows < 1:
        return refuse(fault, faults.TOO_MANY_ROWS, names.ORDER)
    return x.rows >= 1 or refuse(fault, faults.TOO_MANY_ROWS, names.X)


@inner
def check_labels(fault, y, classes):
    """Return whether all labels in y are those of classes."""
    for i in range(y.rows):
        label = read_label(y.address + i * y.row_stride, y.kind)
        if label < 0 or label >= classes:
            return refuse(fault, faults.WRONG_LABEL, names.Y, place=i, got=label, expected=classes - 1)
    return True


@inner
def check_y(fault, t, x, y):
    """y has a label, or the targets of all outputs, for each row of x."""
    labels = y.ndim == 1 and t.takes_labels != 0
    if labels and (y.kind == FLOAT32 or y.kind == FLOAT64):
        return refuse(fault, faults.WRONG_DTYPE, names.Y, got=y.kind, expected=faults.ANY_INTEGER)
    one_column = labels or (y.ndim == 1 and t.outputs == 1)
    if not check_real(fault, names.Y, y, 1 if one_column else 2):
        return False
    if t.takes_labels != 0 and y.ndim == 2 and y.columns == 1 and t.outputs > 1:
        return refuse(fault, faults.LABEL_COLUMN, names.Y, got=y.kind, other=names.NETWORK, expected=t.outputs)
    if not (one_column or arg.check_length(fault, names.Y, 1, y.columns, names.NETWORK, t.outputs)):
        return False
    return arg.check_length(fault, names.Y, 0, y.rows, names.X, x.rows) and (
        not labels or check_labels(fault, y, t.outputs)
    )


class Result(NamedTuple):
    """Room for a number that code returns."""

    value: float


NO_RESULT = Result(0.0)


@inner
def weight_at(weights, i):
    """Return the weight of sample i."""
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
            return refuse(
                fault,
                faults.WRONG_TARGET if outside else faults.WRONG_SUM,
                names.Y,
                place=i,
                got=got,
                expected=expected,
            )
    return True


@inner
def check_meaning(fault, t, y, weights):
    """Return whether the cost can mean y, whose shape and labels are right: most costs take any numbers."""
    labels = t.takes_labels != 0 and y.ndim == 1
    return labels or t.least_target == -np.inf or check_targets(fault, t, y, weights)


def weights_checker(real):
    """Make check_weights(fault, x, weights, minibatch): weights are None, or a number of at least 0 for each row of x, and
    `real` holds the largest; those that it rounds to 0 count as 0 beside larger ones. All may be 0 in a minibatch."""
    kind = kind_of_dtype(real)

    @inner
    def check_weights(fault, x, weights, minibatch):
        if weights.kind == NOTHING:
            return True
        if not check_real(fault, names.SAMPLE_WEIGHT, weights, 1):
            return False
        largest, row = 0.0, 0
        for i in range(weights.rows):
            weight = weight_at(weights, i)
            if not (weight >= 0 and real(weight) < np.inf):
                return refuse(
                    fault, faults.WRONG_WEIGHT, names.SAMPLE_WEIGHT, place=i, got=bits_of(weight), expected=kind
                )
            if weight > largest:
                largest, row = weight, i
        if largest == 0 and weights.rows > 0 and not minibatch:
            return refuse(fault, faults.NO_WEIGHT, names.SAMPLE_WEIGHT)
        if largest > 0 and real(largest) == 0:
            return refuse(
                fault, faults.WRONG_WEIGHT, names.SAMPLE_WEIGHT, place=row, got=bits_of(largest), expected=kind
            )
        return arg.check_length(fault, names.SAMPLE_WEIGHT, 0, weights.rows, names.X, x.rows)

    return check_weights


def holding_checker(real):
    """Make check_held(fault, name, x): `real` holds all finite numbers in x. It runs where a result is not finite: ahead of the
    work it would cost a small network as much as its arithmetic."""
    kind = kind_of_dtype(real)

    @inner
    def check_held(fault, name, x):
        if kind == FLOAT64 or x.kind != FLOAT64:
            return True
        for i in range(x.rows):
            for j in range(x.columns):
                number = number_at(x.address + i * x.row_stride + j * x.column_stride, x.kind)
                if np.isfinite(number) and not np.isfinite(real(number)):
                    return refuse(fault, faults.NOT_HELD, name, place=i, got=bits_of(number), expected=kind)
        return True

    return check_held


@inner
def all_finite(x):
    """Return whether all numbers in the Array x are finite."""
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
        return refuse(fault, faults.NOT_ARRAY, names.ORDER, expected=INT64_KIND)
    if order.kind != INT64_KIND:
        return refuse(fault, faults.WRONG_DTYPE, names.ORDER, got=order.kind, expected=INT64_KIND)
    if order.ndim != 1:
        return refuse(fault, faults.WRONG_NDIM, names.ORDER, got=order.ndim, expected=1)
    for i in range(order.rows):
        row = read(order.address + i * order.row_stride, np.int64)
        if row < 0 or row >= x.rows:
            return refuse(fault, faults.NO_ROW, names.ORDER, place=i, got=row, expected=x.rows - 1)
    return True


def samples_checker(real):
    """Make check_samples(fault, t, x, y, weights, order, most): the network can go over the samples. With `most` rows at
    most they are one minibatch; 0: any number of rows."""
    check_weights = weights_checker(real)

    @inner
    def check_samples(fault, t, x, y, weights, order, most):
        return (
            check_x(fault, t, x, most)
            and check_y(fault, t, x, y)
            and check_weights(fault, x, weights, most != 0)
            and check_meaning(fault, t, y, weights)
            and check_order(fault, x, order)
            and check_some_rows(fault, x, order)
        )

    return check_samples


@inner
def check_rows_and_out(fault, t, x, out, kind):
    """x are rows of inputs, and `out` has room for their outputs, of the given kind."""
    return (
        check_x(fault, t, x, 0)
        and arg.check_floats(fault, names.OUT, out, 2, names.NETWORK, kind)
        and arg.check_shape(fault, names.OUT, out, x.rows, names.X, t.outputs, names.NETWORK)
        and arg.check_output(fault, names.OUT, out)
        and arg.check_apart_from_any(fault, names.OUT, out, names.X, x)
    )


def deltas_checker(real):
    """Make check_deltas(fault, t, delta, below): `delta` belongs to the last forward pass, and `below` is None or has room for
    the delta of its inputs."""
    kind, size = kind_of_dtype(real), real.bitwidth // 8

    @inner
    def check_deltas(fault, t, delta, below):
        return (
            check_real(fault, names.DELTA, delta, 2)
            and arg.check_floats(fault, names.DELTA, delta, 2, names.NETWORK, kind)
            and arg.check_shape(fault, names.DELTA, delta, t.rows, names.X, t.outputs, names.NETWORK)
            and (
                below.kind == NOTHING
                or (
                    arg.check_floats(fault, names.INPUT_DELTA, below, 2, names.DELTA, kind)
                    and arg.check_shape(fault, names.INPUT_DELTA, below, t.rows, names.X, t.inputs, names.X)
                    and arg.check_output(fault, names.INPUT_DELTA, below)
                    and arg.check_apart(fault, names.INPUT_DELTA, below, names.DELTA, delta, size)
                )
            )
        )

    return check_deltas
