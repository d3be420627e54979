"""The costs as kernels: the mean over a minibatch and its derivative, for arrays of any strides.

The mean is sum(w_k c_k) / sum(w_k) for sample weights w, 0 where they sum to 0. Costs of single outputs are averaged
over the outputs of a sample, those of classes are added.
"""

import math
from typing import NamedTuple

from fastbp.compiler import arguments as arg
from fastbp.compiler import faults, names
from fastbp.compiler.arrays import INTEGER, NOTHING, Array, as_row, bytes_of_label, describe, kind_of_dtype, spans_meet
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.faults import CLEAR, bits_of, raise_fault, refuse
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import call, fetch, get, on_stack, put
from fastbp.compiler.strided import on_rows
from fastbp.kernels.loss_arguments import LossArguments, read_label
from fastbp.kernels.loss_formulas import cost
from fastbp.kernels.operands import output_like


class Options(NamedTuple):
    """A cost's parameter, which lies between 0 and `highest`; and the mean cost, which comes back."""

    parameter: float
    highest: float
    mean: float


NO_OPTIONS = Options(parameter=0.0, highest=0.0, mean=0.0)


# -------------------------------------------------------------------------------------------------------------- checks


@inner
def check_labels(fault, name, labels, z, out, size):
    """`labels` has one dimension, a row for each of z, and shares no memory with out."""
    if labels.ndim == 2 and labels.columns == 1 and z.columns > 1:
        return refuse(fault, faults.LABEL_COLUMN, names.Y, got=labels.kind, other=name, expected=z.columns)
    if labels.ndim != 1:
        return refuse(fault, faults.NOT_TARGETS, names.Y, place=labels.ndim, got=labels.kind, expected=z.kind)
    if not arg.check_length(fault, names.Y, 0, labels.rows, name, z.rows):
        return False
    if spans_meet(labels, bytes_of_label(labels.kind), out, size):
        return refuse(fault, faults.SHARES_MEMORY, names.OUT, other=names.Y)
    return True


@inner
def check_targets(fault, name, y, z, out, size, takes_labels):
    """y is what the cost takes: labels, or numbers in the shape of z."""
    if takes_labels and y.kind >= INTEGER:
        return check_labels(fault, name, y, z, out, size)
    if takes_labels and y.kind == z.kind and y.ndim != 2:
        return refuse(fault, faults.NOT_TARGETS, names.Y, place=y.ndim, got=y.kind, expected=z.kind)
    return (
        arg.check_floats(fault, names.Y, y, 2, name, z.kind)
        and arg.check_shape(fault, names.Y, y, z.rows, name, z.columns, name)
        and arg.check_apart(fault, names.OUT, out, names.Y, y, size)
    )


@inner
def check_weights(fault, name, weights, z, out, size):
    """`weights` are None, or a number for each row of z, in memory apart from out."""
    return weights.kind == NOTHING or (
        arg.check_floats(fault, names.SAMPLE_WEIGHT, weights, 1, name, z.kind)
        and arg.check_length(fault, names.SAMPLE_WEIGHT, 0, weights.rows, name, z.rows)
        and arg.check_apart(fault, names.OUT, out, names.SAMPLE_WEIGHT, weights, size)
    )


@code_per_dtype
def cost_code(real):
    """cost_code(z, y, sample_weight, out, name, takes_labels, body, options, options_name, fault): check, run the body.

    z, y, sample_weight, out: addresses of Arrays. `name` is that of z in faults, `options_name` that of the parameter in the
    Options.
    """
    kind, size = kind_of_dtype(real), real.bitwidth // 8

    @inner
    def run_body(rows, body, options, fault):
        x, y, weights, out = rows
        loss = LossArguments(
            z=x.address,
            z_stride=x.row_stride,
            y=y.address,
            y_kind=y.kind,
            y_row_stride=y.row_stride,
            weights=weights.address,
            delta=out.address,
            delta_stride=out.row_stride,
            rows=out.rows,
            columns=out.columns,
            parameter=get(options, Options, "parameter"),
            scale=1.0,
            cost=0.0,
            weight=0.0,
            raised=0,
        )
        args = on_stack(loss)
        wrong = call(body, (args,))
        if wrong != 0:
            label = read_label(y.address + (wrong - 1) * y.row_stride, y.kind)
            refuse(fault, faults.WRONG_LABEL, names.Y, place=wrong - 1, got=label, expected=x.columns - 1)
        total, weight = get(args, LossArguments, "cost"), get(args, LossArguments, "weight")
        put(options, Options, "mean", total / weight if weight != 0 else 0.0)

    run = on_rows(
        real, run_body, inputs=4, outputs=1
    )  # a wrong label leaves `out` as it is: a copy of it begins as it is

    @inner
    def checked(x, t, w, c, name, takes_labels, options, options_name, fault):
        parameter, highest = get(options, Options, "parameter"), get(options, Options, "highest")
        bound = 1 if highest == 1 else 0
        return (
            arg.check_numbers(fault)
            and arg.check_floats(fault, name, x, 2, name, kind)
            and arg.check_result(fault, names.OUT, c, name, kind, x.rows, name, x.columns, name)
            and arg.check_apart_or_same(fault, names.OUT, c, name, x, size)
            and check_targets(fault, name, t, x, c, size, takes_labels)
            and check_weights(fault, name, w, x, c, size)
            and (
                0 <= parameter <= highest
                or refuse(fault, faults.OUT_OF_RANGE, options_name, got=bits_of(parameter), expected=bound)
            )
        )

    def cost_code(z, y, sample_weight, out, name, takes_labels, body, options, options_name, fault):
        x, t, w, c = fetch(Array, z), fetch(Array, y), fetch(Array, sample_weight), fetch(Array, out)
        if checked(x, t, w, c, name, takes_labels != 0, options, options_name, fault):
            run((x, t, as_row(w), c), body, options, fault)
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
    """Return the mean of -sum(t_j log(softmax(z)_j)), and its derivative by z: (sum(t) softmax(z) - t) / K.

    z (K, m): logits, float32 or float64. y: integer labels (K,), or (K, m) of the dtype of z, one-hot or probabilities (other
    numbers are not refused: they weigh the terms).
    t = (1 - label_smoothing) y + label_smoothing / m (Szegedy et al. 2016), y one-hot. sample_weight (K,): of the dtype
    of z, or None. out (K, m): gets the derivative; it may be z itself, and is allocated when None. Any strides. Returns
    (cost, out), cost a float64. Raises ShapeError (a ValueError; also for a label out of range) or DtypeError (a
    TypeError) before anything is written.
    """
    delta = output_like(out, z)
    fault = on_stack(CLEAR)
    options = on_stack(
        Options(parameter=arg.number(fault, names.LABEL_SMOOTHING, label_smoothing), highest=1.0, mean=0.0)
    )
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    body = softmax_cross_entropy_body(z)
    call(cost_code(z), (*arrays, names.Z, OF_CLASSES, body, options, names.LABEL_SMOOTHING, fault))
    raise_fault(fault)
    return get(options, Options, "mean"), delta


@kernel
def negative_log_likelihood(p, y, out=None, sample_weight=None):
    """Return the mean of -sum(y_j log(p_j)), and its derivative by p: -y / p / K. Terms with y = 0 are 0.

    p (K, m): probabilities, float32 or float64; at a label, p = 0 costs infinity. y, sample_weight, out, the result and
    the errors: as in `softmax_cross_entropy`, with p for z.
    """
    delta = output_like(out, p)
    fault, options = on_stack(CLEAR), on_stack(NO_OPTIONS)
    arrays = (describe(p), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(p), (*arrays, names.P, OF_CLASSES, negative_log_likelihood_body(p), options, names.P, fault))
    raise_fault(fault)
    return get(options, Options, "mean"), delta


@kernel
def binary_cross_entropy(z, y, out=None, sample_weight=None):
    """Return the mean of log(1 + exp(z)) - y z over all elements, and its derivative by z: (sigmoid(z) - y) / (K m).

    z (K, m): logits. y (K, m): targets from 0 to 1, which is not looked at. sample_weight, out, the result and the errors: as
    in `mean_squared_error`.
    """
    delta = output_like(out, z)
    fault, options = on_stack(CLEAR), on_stack(NO_OPTIONS)
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(z), (*arrays, names.Z, OF_NUMBERS, binary_cross_entropy_body(z), options, names.Z, fault))
    raise_fault(fault)
    return get(options, Options, "mean"), delta


@kernel
def mean_squared_error(z, y, out=None, sample_weight=None):
    """Return the mean of (z - y)**2 over all elements, and its derivative by z: 2 (z - y) / (K m).

    z, y (K, m): float32 or float64, of one dtype. sample_weight (K,): of the same dtype, or None. out (K, m): gets the
    derivative; it may be z itself, and is allocated when None. Any strides. Returns (cost, out), cost a float64. Raises
    ShapeError (a ValueError) or DtypeError (a TypeError) before anything is written.
    """
    delta = output_like(out, z)
    fault, options = on_stack(CLEAR), on_stack(NO_OPTIONS)
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(z), (*arrays, names.Z, OF_NUMBERS, mean_squared_error_body(z), options, names.Z, fault))
    raise_fault(fault)
    return get(options, Options, "mean"), delta


@kernel
def mean_absolute_error(z, y, out=None, sample_weight=None):
    """Return the mean of |z - y| over all elements, and its derivative by z: sign(z - y) / (K m), 0 where z = y.

    Arguments, result and errors are those of `mean_squared_error`.
    """
    delta = output_like(out, z)
    fault, options = on_stack(CLEAR), on_stack(NO_OPTIONS)
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(z), (*arrays, names.Z, OF_NUMBERS, mean_absolute_error_body(z), options, names.Z, fault))
    raise_fault(fault)
    return get(options, Options, "mean"), delta


@kernel
def huber(z, y, out=None, sample_weight=None, delta=1.0):
    """Return the mean of r**2 / 2 where |r| < delta, else delta (|r| - delta / 2), r = z - y; and its derivative by z.

    delta: at least 0. The other arguments, the result and the errors are those of `mean_squared_error`. Huber (1964).
    """
    derivative = output_like(out, z)
    fault = on_stack(CLEAR)
    options = on_stack(Options(parameter=arg.number(fault, names.DELTA, delta), highest=math.inf, mean=0.0))
    arrays = (describe(z), describe(y), describe(sample_weight), describe(derivative))
    call(cost_code(z), (*arrays, names.Z, OF_NUMBERS, huber_body(z), options, names.DELTA, fault))
    raise_fault(fault)
    return get(options, Options, "mean"), derivative


@kernel
def poisson(z, y, out=None, sample_weight=None):
    """Return the mean of exp(z) - y z over all elements, and its derivative by z: (exp(z) - y) / (K m).

    The negative log-likelihood, but for log(y!), of counts y whose mean is exp(z). Arguments, result and errors are
    those of `mean_squared_error`.
    """
    delta = output_like(out, z)
    fault, options = on_stack(CLEAR), on_stack(NO_OPTIONS)
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(z), (*arrays, names.Z, OF_NUMBERS, poisson_body(z), options, names.Z, fault))
    raise_fault(fault)
    return get(options, Options, "mean"), delta


@kernel
def quantile(z, y, out=None, sample_weight=None, quantile=0.5):
    """Return the mean of quantile (y - z) where z < y, else (1 - quantile) (z - y); and its derivative by z, 0 where z = y.

    quantile: from 0 to 1; the cost is least where z is that quantile of y. The other arguments, the result and the
    errors are those of `mean_squared_error`. Koenker and Bassett (1978).
    """
    delta = output_like(out, z)
    fault = on_stack(CLEAR)
    options = on_stack(Options(parameter=arg.number(fault, names.QUANTILE, quantile), highest=1.0, mean=0.0))
    arrays = (describe(z), describe(y), describe(sample_weight), describe(delta))
    call(cost_code(z), (*arrays, names.Z, OF_NUMBERS, quantile_body(z), options, names.QUANTILE, fault))
    raise_fault(fault)
    return get(options, Options, "mean"), delta
