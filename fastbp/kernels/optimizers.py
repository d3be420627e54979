"""The optimizers as kernels: one step in place over flat vectors of any strides."""

import math

import numpy as np

from fastbp.compiler.arguments import (
    BETA1,
    BETA2,
    CLEAR,
    EPSILON,
    GRADIENTS,
    LEARNING_RATE,
    MOMENTUM,
    NESTEROV,
    PARAMETERS,
    RHO,
    STEP,
    TOO_SMALL,
    VELOCITY,
    WEIGHT_DECAY,
    Array,
    M,
    V,
    check_apart,
    check_floats,
    check_length,
    check_numbers,
    check_output,
    describe,
    integer,
    kind_of_dtype,
    number,
    raise_fault,
    refuse,
)
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import address_of, call, fetch, on_stack, write
from fastbp.gemm.pack import copier
from fastbp.kernels.operands import as_row, bytes_of_rows, row_maker
from fastbp.kernels.update_rules import Update, update
from fastbp.parallel.region import region
from fastbp.parallel.sharing import share_out

sgd_update, momentum_update, adam_update = update.single("sgd"), update.single("momentum"), update.single("adam")
adamw_update, rmsprop_update, adagrad_update = (update.single(rule) for rule in ("adamw", "rmsprop", "adagrad"))

FLOPS_PER_ELEMENT = 24.0  # what an update costs an element, for the choice of threads
AT_STEP = 8 * Update._fields.index("step")


@code_per_dtype
def step_code(real):
    """step_code(parameters, gradients, m, v, m_name, v_name, body, args, region, fault): check, then run the body.

    The arrays' descriptions; the names of m and v in faults, -1 without such a vector; the Update at `args` but for
    the vectors, which are noted in it.
    """
    kind, size, with_rows, copy = kind_of_dtype(real), real.bitwidth // 8, row_maker(real), copier(real)

    @inner
    def check_state(fault, name, x, p, g):
        return name < 0 or (
            check_floats(fault, name, x, 1, PARAMETERS, kind)
            and check_length(fault, name, 0, x.rows, PARAMETERS, p.rows)
            and check_output(fault, name, x)
            and check_apart(fault, name, x, PARAMETERS, p, size)
            and check_apart(fault, name, x, GRADIENTS, g, size)
        )

    @inner
    def checked(p, g, m, v, m_name, v_name, step, fault):
        return (
            check_numbers(fault)
            and check_floats(fault, PARAMETERS, p, 1, PARAMETERS, kind)
            and check_output(fault, PARAMETERS, p)
            and check_floats(fault, GRADIENTS, g, 1, PARAMETERS, kind)
            and check_length(fault, GRADIENTS, 0, g.rows, PARAMETERS, p.rows)
            and check_apart(fault, PARAMETERS, p, GRADIENTS, g, size)
            and check_state(fault, m_name, m, p, g)
            and check_state(fault, v_name, v, p, g)
            and (m_name < 0 or v_name < 0 or check_apart(fault, v_name, v, m_name, m, size))
            and (step >= 1 or refuse(fault, TOO_SMALL, STEP, 0, step, 0, 1))
        )

    @inner
    def run_body(p, g, m, v, body, args, region):
        for i, cell in enumerate((p.address, g.address, m.address, v.address, p.columns)):
            write(args + 8 * i, cell)
        share_out(region, body, args, FLOPS_PER_ELEMENT * p.columns)

    @inner
    def copy_back(x, rows):
        if rows.address != x.address:
            copy(x.address, x.row_stride, x.column_stride, rows.address, rows.row_stride, size, 1, x.columns)

    @inner
    def run_on_copies(p, g, m, v, body, args, region, needed):
        room = np.empty(needed, np.uint8)
        work = address_of(room)
        copies = (
            with_rows(p, work, True),
            with_rows(m, work + bytes_of_rows(p, size), True),
            with_rows(v, work + bytes_of_rows(p, size) + bytes_of_rows(m, size), True),
        )
        gradients = with_rows(g, work + needed - bytes_of_rows(g, size), True)
        run_body(copies[0], gradients, copies[1], copies[2], body, args, region)
        for x, rows in zip((p, m, v), copies):  # noqa: B905, numba has no zip(strict=...)
            copy_back(x, rows)
        room[0] = 0  # its address does not keep it alive

    def step_code(parameters, gradients, m, v, m_name, v_name, body, args, region, fault):
        p, g, first, second = fetch(Array, parameters), fetch(Array, gradients), fetch(Array, m), fetch(Array, v)
        if checked(p, g, first, second, m_name, v_name, fetch(Update, args).step, fault):
            p, g, first, second = as_row(p), as_row(g), as_row(first), as_row(second)
            needed = bytes_of_rows(p, size) + bytes_of_rows(g, size)
            needed += bytes_of_rows(first, size) + bytes_of_rows(second, size)
            if needed == 0:
                run_body(p, g, first, second, body, args, region)
            else:
                run_on_copies(p, g, first, second, body, args, region, needed)
        return 0

    return step_code


@kernel
def sgd_step(parameters, gradients, learning_rate, weight_decay=0.0):
    """parameters -= learning_rate * g, g = gradients + weight_decay * parameters: gradient descent.

    parameters, gradients: float32 or float64 vectors of one dtype and length, any strides, sharing no memory.
    parameters: updated in place and returned. Raises ShapeError (a ValueError) or DtypeError (a TypeError) before
    anything is written.
    """
    fault = on_stack(CLEAR)
    rate, decay = number(fault, LEARNING_RATE, learning_rate), number(fault, WEIGHT_DECAY, weight_decay)
    args = on_stack(Update(0, 0, 0, 0, 0, rate, 0.0, 0.0, 0.0, 0.0, decay, 1.0, math.inf, 1))
    arrays = (describe(parameters), describe(gradients), describe(None), describe(None))
    call(step_code(parameters), (*arrays, -1, -1, sgd_update(parameters), args, region(), fault))
    raise_fault(fault)
    return parameters


@kernel
def momentum_step(parameters, gradients, velocity, learning_rate, momentum=0.9, nesterov=False, weight_decay=0.0):
    """velocity = momentum * velocity + g; parameters -= learning_rate * velocity: gradient descent with momentum.

    With g = gradients + weight_decay * parameters, and with `nesterov` parameters -= learning_rate * (g + momentum *
    velocity), as PyTorch has them. parameters, gradients, velocity: float32 or float64 vectors of one dtype and length,
    any strides, sharing no memory. parameters and velocity (zeros before the first step): updated in place. Returns
    parameters. Raises ShapeError (a ValueError) or DtypeError (a TypeError) before anything is written. Polyak (1964);
    Sutskever et al. (2013).
    """
    fault = on_stack(CLEAR)
    rate, decay = number(fault, LEARNING_RATE, learning_rate), number(fault, WEIGHT_DECAY, weight_decay)
    carried, ahead = number(fault, MOMENTUM, momentum), number(fault, NESTEROV, nesterov)
    numbers = (rate, carried, ahead, 0.0, 0.0, decay, 1.0, math.inf, 1)
    args = on_stack(Update(0, 0, 0, 0, 0, *numbers))
    arrays = (describe(parameters), describe(gradients), describe(velocity), describe(None))
    call(step_code(parameters), (*arrays, VELOCITY, -1, momentum_update(parameters), args, region(), fault))
    raise_fault(fault)
    return parameters


@kernel
def adam_step(parameters, gradients, m, v, step, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g**2, g = gradients + weight_decay * parameters;
    parameters -= learning_rate m / (1 - beta1**step) / (sqrt(v / (1 - beta2**step)) + epsilon).

    parameters, gradients, m, v: float32 or float64 vectors of one dtype and length, any strides, sharing no memory.
    parameters, m and v (zeros before the first step): updated in place. step: 1 for the first. Returns parameters.
    Raises ShapeError (a ValueError) or DtypeError (a TypeError) before anything is written. Kingma and Ba (2015).
    """
    fault = on_stack(CLEAR)
    rate, decay = number(fault, LEARNING_RATE, learning_rate), number(fault, WEIGHT_DECAY, weight_decay)
    first, second, least = number(fault, BETA1, beta1), number(fault, BETA2, beta2), number(fault, EPSILON, epsilon)
    numbers = (rate, first, second, least, 0.0, decay, 1.0, math.inf, integer(step))
    args = on_stack(Update(0, 0, 0, 0, 0, *numbers))
    arrays = (describe(parameters), describe(gradients), describe(m), describe(v))
    call(step_code(parameters), (*arrays, M, V, adam_update(parameters), args, region(), fault))
    raise_fault(fault)
    return parameters


@kernel
def adamw_step(
    parameters, gradients, m, v, step, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01
):
    """Adam with decoupled weight decay: parameters *= 1 - learning_rate * weight_decay, then `adam_step` without decay.

    Arguments, result and errors are those of `adam_step`. Loshchilov and Hutter (2019).
    """
    fault = on_stack(CLEAR)
    rate, decay = number(fault, LEARNING_RATE, learning_rate), number(fault, WEIGHT_DECAY, weight_decay)
    first, second, least = number(fault, BETA1, beta1), number(fault, BETA2, beta2), number(fault, EPSILON, epsilon)
    numbers = (rate, first, second, least, 0.0, decay, 1.0, math.inf, integer(step))
    args = on_stack(Update(0, 0, 0, 0, 0, *numbers))
    arrays = (describe(parameters), describe(gradients), describe(m), describe(v))
    call(step_code(parameters), (*arrays, M, V, adamw_update(parameters), args, region(), fault))
    raise_fault(fault)
    return parameters


@kernel
def rmsprop_step(parameters, gradients, v, learning_rate, rho=0.9, epsilon=1e-8, weight_decay=0.0):
    """v = rho v + (1 - rho) g**2; parameters -= learning_rate g / (sqrt(v) + epsilon).

    With g = gradients + weight_decay * parameters. parameters, gradients, v: float32 or float64 vectors of one dtype
    and length, any strides, sharing no memory. parameters and v (zeros before the first step): updated in place.
    Returns parameters. Raises ShapeError (a ValueError) or DtypeError (a TypeError) before anything is written.
    Tieleman and Hinton (2012).
    """
    fault = on_stack(CLEAR)
    rate, decay = number(fault, LEARNING_RATE, learning_rate), number(fault, WEIGHT_DECAY, weight_decay)
    kept, least = number(fault, RHO, rho), number(fault, EPSILON, epsilon)
    numbers = (rate, kept, least, 0.0, 0.0, decay, 1.0, math.inf, 1)
    args = on_stack(Update(0, 0, 0, 0, 0, *numbers))
    arrays = (describe(parameters), describe(gradients), describe(None), describe(v))
    call(step_code(parameters), (*arrays, -1, V, rmsprop_update(parameters), args, region(), fault))
    raise_fault(fault)
    return parameters


@kernel
def adagrad_step(parameters, gradients, v, learning_rate, epsilon=1e-10, weight_decay=0.0):
    """v += g**2; parameters -= learning_rate g / (sqrt(v) + epsilon), g = gradients + weight_decay * parameters.

    Arguments, result and errors are those of `rmsprop_step`. Duchi, Hazan and Singer (2011).
    """
    fault = on_stack(CLEAR)
    rate, decay = number(fault, LEARNING_RATE, learning_rate), number(fault, WEIGHT_DECAY, weight_decay)
    numbers = (rate, number(fault, EPSILON, epsilon), 0.0, 0.0, 0.0, decay, 1.0, math.inf, 1)
    args = on_stack(Update(0, 0, 0, 0, 0, *numbers))
    arrays = (describe(parameters), describe(gradients), describe(None), describe(v))
    call(step_code(parameters), (*arrays, -1, V, adagrad_update(parameters), args, region(), fault))
    raise_fault(fault)
    return parameters
