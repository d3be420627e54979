"""The costs as kernels: the mean over a minibatch and its derivative, for arrays of any strides.

The mean is sum(w_k c_k) / sum(w_k) for sample weights w, 0 where they sum to 0. Costs of single outputs are averaged
over the outputs of a sample, those of classes are added.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import types

from fastbp.compiler.arguments import (
    CLEAR,
    DELTA,
    INTEGER,
    LABEL_COLUMN,
    LABEL_SMOOTHING,
    NOT_TARGETS,
    NOTHING,
    OUT,
    OUT_OF_RANGE,
    QUANTILE,
    SAMPLE_WEIGHT,
    SHARES_MEMORY,
    WRONG_LABEL,
    Array,
    P,
    Y,
    Z,
    check_apart,
    check_apart_or_same,
    check_floats,
    check_length,
    check_numbers,
    check_output,
    check_shape,
    describe,
    kind_of_dtype,
    number,
    raise_fault,
    refuse,
    span,
)
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import address_of, call, fetch, on_stack, read, write
from fastbp.gemm.pack import copier
from fastbp.kernels.loss_arguments import Loss, read_label
from fastbp.kernels.loss_formulas import COSTS, cost
from fastbp.kernels.operands import as_row, bytes_of_rows, output_like, row_maker
from fastbp.kernels.softmax import softmax

__all__ = [
    "COSTS", "Loss", "binary_cross_entropy", "cost", "huber", "mean_absolute_error", "mean_squared_error",
    "negative_log_likelihood", "poisson", "quantile", "softmax", "softmax_cross_entropy",
]  # fmt: skip


class Options(NamedTuple):
    """A cost's parameter, which lies between 0 and `highest`; and the mean cost, which comes back."""

    parameter: float
    highest: float
    mean: float


AT_MEAN = 8 * Options._fields.index("mean")


# -------------------------------------------------------------------------------------------------------------- checks


@inner
def check_labels(fault, name, labels, z, out, size):
    """labels has one dimension, a row for each of z, and shares no memory with out."""
    if labels.ndim == 2 and labels.columns == 1 and z.columns > 1:
        return refuse(fault, LABEL_COLUMN, Y, 0, labels.kind, name, z.columns)
    if labels.ndim != 1:
        return refuse(fault, NOT_TARGETS, Y, labels.ndim, labels.kind, 0, z.kind)
    if not check_length(fault, Y, 0, labels.rows, name, z.rows):
        return False
    first, end = span(labels, 1 << ((labels.kind - INTEGER) // 2 & 3))
    out_first, out_end = span(out, size)
    if labels.rows > 0 and out.rows * out.columns > 0 and first < out_end and out_first < end:
        return refuse(fault, SHARES_MEMORY, OUT, 0, 0, Y, 0)
    return True


@inner
def check_targets(fault, name, y, z, out, size, takes_labels):
    """y is what the cost takes: labels, or as many numbers as z."""
    if takes_labels and y.kind >= INTEGER:
        return check_labels(fault, name, y, z, out, size)
    if takes_labels and y.kind == z.kind and y.ndim != 2:
        return refuse(fault, NOT_TARGETS, Y, y.ndim, y.kind, 0, z.kind)
    return (
        check_floats(fault, Y, y, 2, name, z.kind)
        and check_shape(fault, Y, y, z.rows, name, z.columns, name)
        and check_apart(fault, OUT, out, Y, y, size)
    )


@inner
def check_weights(fault, name, weights, z, out, size):
    return weights.kind == NOTHING or (
        check_floats(fault, SAMPLE_WEIGHT, weights, 1, name, z.kind)
        and check_length(fault, SAMPLE_WEIGHT, 0, weights.rows, name, z.rows)
        and check_apart(fault, OUT, out, SAMPLE_WEIGHT, weights, size)
    )


@code_per_dtype
def cost_code(real):
    """cost_code(z, y, sample_weight, out, name, takes_labels, body, options, options_name, fault): check, run the body.

    The arrays' descriptions; `name` is that of z in faults, `options_name` that of the parameter in the Options.
    """
    kind, size, with_rows, copy = kind_of_dtype(real), real.bitwidth // 8, row_maker(real), copier(real)

    @inner
    def run_body(x, y, weights, out, body, options, fault):
        sizes, parameter = (out.rows, out.columns), fetch(Options, options).parameter
        targets = (y.address, y.kind, y.row_stride)
        delta = (out.address, out.row_stride)
        args = on_stack(
            Loss(x.address, x.row_stride, *targets, weights.address, *delta, *sizes, parameter, 1.0, 0.0, 0.0, 0)
        )
        wrong = call(body, (args,))
        if wrong != 0:
            label = read_label(y.address + (wrong - 1) * y.row_stride, y.kind)
            refuse(fault, WRONG_LABEL, Y, wrong - 1, label, 0, x.columns - 1)
        loss = fetch(Loss, args)
        write(options + AT_MEAN, loss.cost / loss.weight if loss.weight != 0 else 0.0)
        return wrong == 0

    @inner
    def run_on_copies(x, y, weights, out, body, options, fault, needed):
        room = np.empty(needed, np.uint8)
        work = address_of(room)
        rows = with_rows(out, work, False)
        work += bytes_of_rows(out, size)
        z = with_rows(x, work, True)
        work += bytes_of_rows(x, size)
        targets = y if y.kind >= INTEGER else with_rows(y, work, True)
        w = with_rows(weights, address_of(room) + needed - bytes_of_rows(weights, size), True)
        if run_body(z, targets, w, rows, body, options, fault) and rows.address != out.address:
            target = (out.address, out.row_stride, out.column_stride)
            copy(*target, rows.address, rows.row_stride, size, out.rows, out.columns)
        room[0] = 0  # its address does not keep it alive

    @inner
    def checked(x, t, w, c, name, takes_labels, options, options_name, fault):
        parameter, highest = fetch(Options, options).parameter, fetch(Options, options).highest
        bound = 1 if highest == 1 else 0
        return (
            check_numbers(fault)
            and check_floats(fault, name, x, 2, name, kind)
            and check_floats(fault, OUT, c, 2, name, kind)
            and check_shape(fault, OUT, c, x.rows, name, x.columns, name)
            and check_output(fault, OUT, c)
            and check_apart_or_same(fault, OUT, c, name, x, size)
            and check_targets(fault, name, t, x, c, size, takes_labels)
            and check_weights(fault, name, w, x, c, size)
            and (
                0 <= parameter <= highest
                or refuse(fault, OUT_OF_RANGE, options_name, 0, read(options, types.int64), 0, bound)
            )
        )

    def cost_code(z, y, sample_weight, out, name, takes_labels, body, options, options_name, fault):
        x, t, w, c = fetch(Array, z), fetch(Array, y), fetch(Array, sample_weight), fetch(Array, out)
        if checked(x, t, w, c, name, takes_labels != 0, options, options_name, fault):
            w = as_row(w)
            needed = bytes_of_rows(x, size) + bytes_of_rows(w, size) + bytes_of_rows(c, size)
            needed += bytes_of_rows(t, size) if t.kind < INTEGER else 0
            if needed == 0:
                run_body(x, t, w, c, body, options, fault)
            else:
                run_on_copies(x, t, w, c, body, options, fault, needed)
        return 0

    return cost_code


# ---------------------------------------------------------------------------------------------------------- the kernels

OF_CLASSES, OF_NUMBERS = 1, 0

softmax_cross_entropy_body = cost.single("softmax_cross_entropy")
negative_log_likelihood_body = cost.single("negative_log_likelihood")
binary_cross_entropy_body = cost.single("binary_cross_entropy")
mean_squared_error_body = cost.single("mean_squared_error")
mean_absolute_error_body = cost.single("mean_absolute_error")
huber_body = cost.single("huber")
poisson_body = cost.single("poisson")
quantile_body = cost.single("quantile")


@kernel
def softmax_cross_entropy(z, y, out=None, sample_weight=None, label_smoothing=0.0):
    """The mean of -sum(t_j log(softmax(z)_j)), and its derivative by z: (sum(t) softmax(z) - t) / K.

    z (K, m): logits, float32 or float64. y: integer labels (K,), or (K, m) of the dtype of z, one-hot or probabilities (other
    numbers are not refused: they weigh the terms).
    t = (1 - label_smoothing) y + label_smoothing / m (Szegedy et al. 2016), y one-hot. sample_weight (K,): of the dtype
    of z, or None. out (K, m): gets the derivative; it may be z itself, and is allocated when None. Any strides. Returns
    (cost, out), cost a float64. Raises ShapeError (a ValueError; also for a label out of range) or DtypeError (a
    TypeError) before anything is written.
    """
    delta = output_like(out, z)
    fault = on_stack(CLEAR)
    options = on_stack(Options(number(fault, LABEL_SMOOTHING, label_smoothing), 1.0, 0.0))
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    body = softmax_cross_entropy_body(z)
    call(cost_code(z), (*arrays, Z, OF_CLASSES, body, options, LABEL_SMOOTHING, fault))
    raise_fault(fault)
    return fetch(Options, options).mean, delta


@kernel
def negative_log_likelihood(p, y, out=None, sample_weight=None):
    """The mean of -sum(y_j log(p_j)), and its derivative by p: -y / p / K. Terms with y = 0 are 0.

    p (K, m): probabilities, float32 or float64; at a label, p = 0 costs infinity. y, sample_weight, out, the result and
    the errors: as in `softmax_cross_entropy`, with p for z.
    """
    delta = output_like(out, p)
    fault, options = on_stack(CLEAR), on_stack(Options(0.0, 0.0, 0.0))
    arrays = (describe(p), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(p), (*arrays, P, OF_CLASSES, negative_log_likelihood_body(p), options, P, fault))
    raise_fault(fault)
    return fetch(Options, options).mean, delta


@kernel
def binary_cross_entropy(z, y, out=None, sample_weight=None):
    """The mean of log(1 + exp(z)) - y z over all elements, and its derivative by z: (sigmoid(z) - y) / (K m).

    z (K, m): logits. y (K, m): targets from 0 to 1, which is not looked at. sample_weight, out, the result and the errors: as
    in `mean_squared_error`.
    """
    delta = output_like(out, z)
    fault, options = on_stack(CLEAR), on_stack(Options(0.0, 0.0, 0.0))
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(z), (*arrays, Z, OF_NUMBERS, binary_cross_entropy_body(z), options, Z, fault))
    raise_fault(fault)
    return fetch(Options, options).mean, delta


@kernel
def mean_squared_error(z, y, out=None, sample_weight=None):
    """The mean of (z - y)**2 over all elements, and its derivative by z: 2 (z - y) / (K m).

    z, y (K, m): float32 or float64, of one dtype. sample_weight (K,): of the same dtype, or None. out (K, m): gets the
    derivative; it may be z itself, and is allocated when None. Any strides. Returns (cost, out), cost a float64. Raises
    ShapeError (a ValueError) or DtypeError (a TypeError) before anything is written.
    """
    delta = output_like(out, z)
    fault, options = on_stack(CLEAR), on_stack(Options(0.0, 0.0, 0.0))
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(z), (*arrays, Z, OF_NUMBERS, mean_squared_error_body(z), options, Z, fault))
    raise_fault(fault)
    return fetch(Options, options).mean, delta


@kernel
def mean_absolute_error(z, y, out=None, sample_weight=None):
    """The mean of |z - y| over all elements, and its derivative by z: sign(z - y) / (K m), 0 where z = y.

    Arguments, result and errors are those of `mean_squared_error`.
    """
    delta = output_like(out, z)
    fault, options = on_stack(CLEAR), on_stack(Options(0.0, 0.0, 0.0))
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(z), (*arrays, Z, OF_NUMBERS, mean_absolute_error_body(z), options, Z, fault))
    raise_fault(fault)
    return fetch(Options, options).mean, delta


@kernel
def huber(z, y, out=None, sample_weight=None, delta=1.0):
    """The mean of r**2 / 2 where |r| < delta, else delta (|r| - delta / 2), r = z - y; and its derivative by z.

    delta: at least 0. The other arguments, the result and the errors are those of `mean_squared_error`. Huber (1964).
    """
    derivative = output_like(out, z)
    fault = on_stack(CLEAR)
    options = on_stack(Options(number(fault, DELTA, delta), math.inf, 0.0))
    arrays = (describe(z), describe(y), describe(sample_weight), describe(derivative))
    call(cost_code(z), (*arrays, Z, OF_NUMBERS, huber_body(z), options, DELTA, fault))
    raise_fault(fault)
    return fetch(Options, options).mean, derivative


@kernel
def poisson(z, y, out=None, sample_weight=None):
    """The mean of exp(z) - y z over all elements, and its derivative by z: (exp(z) - y) / (K m).

    The negative log-likelihood, but for log(y!), of counts y whose mean is exp(z). Arguments, result and errors are
    those of `mean_squared_error`.
    """
    delta = output_like(out, z)
    fault, options = on_stack(CLEAR), on_stack(Options(0.0, 0.0, 0.0))
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(z), (*arrays, Z, OF_NUMBERS, poisson_body(z), options, Z, fault))
    raise_fault(fault)
    return fetch(Options, options).mean, delta


@kernel
def quantile(z, y, out=None, sample_weight=None, quantile=0.5):
    """The mean of quantile (y - z) where z < y, else (1 - quantile) (z - y); and its derivative by z, 0 where z = y.

    quantile: from 0 to 1; the cost is least where z is that quantile of y. The other arguments, the result and the
    errors are those of `mean_squared_error`. Koenker and Bassett (1978).
    """
    delta = output_like(out, z)
    fault = on_stack(CLEAR)
    options = on_stack(Options(number(fault, QUANTILE, quantile), 1.0, 0.0))
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(z), (*arrays, Z, OF_NUMBERS, quantile_body(z), options, QUANTILE, fault))
    raise_fault(fault)
    return fetch(Options, options).mean, delta
