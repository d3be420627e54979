"""The optimizers as kernels: one step in place over flat vectors of any strides."""

import math

from fastbp.compiler import arguments as arg
from fastbp.compiler import faults, names
from fastbp.compiler.arrays import Array, as_row, describe, kind_of_dtype
from fastbp.compiler.code import code_per_dtype
from fastbp.compiler.faults import CLEAR, raise_fault
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import call, fetch, get, on_stack, put
from fastbp.compiler.strided import on_rows
from fastbp.kernels.update_rules import Update, update
from fastbp.parallel.region import region
from fastbp.parallel.sharing import share_out

sgd_update, momentum_update, adam_update = update.single("sgd"), update.single("momentum"), update.single("adam")
adamw_update, rmsprop_update, adagrad_update = (update.single(rule) for rule in ("adamw", "rmsprop", "adagrad"))

FLOPS_PER_ELEMENT = 24.0  # what an update costs an element, for the choice of threads


@code_per_dtype
def step_code(real):
    """step_code(parameters, gradients, m, v, m_name, v_name, body, args, region, fault): check, then run the body.

    parameters, gradients, m, v: addresses of Arrays. m_name, v_name: the names of m and v in faults, NO_NAME without such a
    vector. args: the address of an Update but for the vectors, which are noted in it.
    """
    kind, size = kind_of_dtype(real), real.bitwidth // 8

    @inner
    def check_state(fault, name, x, p, g):
        return name == names.NO_NAME or (
            arg.check_floats(fault, name, x, 1, names.PARAMETERS, kind)
            and arg.check_length(fault, name, 0, x.rows, names.PARAMETERS, p.rows)
            and arg.check_output(fault, name, x)
            and arg.check_apart(fault, name, x, names.PARAMETERS, p, size)
            and arg.check_apart(fault, name, x, names.GRADIENTS, g, size)
        )

    @inner
    def checked(p, g, m, v, m_name, v_name, step, fault):
        return (
            arg.check_numbers(fault)
            and arg.check_floats(fault, names.PARAMETERS, p, 1, names.PARAMETERS, kind)
            and arg.check_output(fault, names.PARAMETERS, p)
            and arg.check_floats(fault, names.GRADIENTS, g, 1, names.PARAMETERS, kind)
            and arg.check_length(fault, names.GRADIENTS, 0, g.rows, names.PARAMETERS, p.rows)
            and arg.check_apart(fault, names.PARAMETERS, p, names.GRADIENTS, g, size)
            and check_state(fault, m_name, m, p, g)
            and check_state(fault, v_name, v, p, g)
            and (
                m_name == names.NO_NAME or v_name == names.NO_NAME or arg.check_apart(fault, v_name, v, m_name, m, size)
            )
            and (step >= 1 or faults.refuse(fault, faults.TOO_SMALL, names.STEP, got=step, expected=1))
        )

    @inner
    def run_body(rows, body, args, region):
        g, p, m, v = rows
        put(args, Update, "parameters", p.address)
        put(args, Update, "gradients", g.address)
        put(args, Update, "m", m.address)
        put(args, Update, "v", v.address)
        put(args, Update, "size", p.columns)
        share_out(region, body, args, FLOPS_PER_ELEMENT * p.columns)

    run = on_rows(real, run_body, inputs=4, outputs=3)

    def step_code(parameters, gradients, m, v, m_name, v_name, body, args, region, fault):
        p, g, first, second = fetch(Array, parameters), fetch(Array, gradients), fetch(Array, m), fetch(Array, v)
        if checked(p, g, first, second, m_name, v_name, get(args, Update, "step"), fault):
            run((as_row(g), as_row(p), as_row(first), as_row(second)), body, args, region)
        return 0

    return step_code


@inner
def update_of(learning_rate, numbers, weight_decay, step):
    """Return an Update whose vectors are still to be noted; `numbers`: h0 to h3, the rule's own."""
    h0, h1, h2, h3 = numbers
    return Update(
        parameters=0,
        gradients=0,
        m=0,
        v=0,
        size=0,
        learning_rate=learning_rate,
        h0=h0,
        h1=h1,
        h2=h2,
        h3=h3,
        weight_decay=weight_decay,
        scale=1.0,
        clip=math.inf,
        step=step,
    )


@kernel
def sgd_step(parameters, gradients, learning_rate, weight_decay=0.0):
    """parameters -= learning_rate * g, g = gradients + weight_decay * parameters: gradient descent.

    parameters, gradients: float32 or float64 vectors of one dtype and length, any strides, sharing no memory.
    parameters: updated in place and returned. Raises ShapeError (a ValueError) or DtypeError (a TypeError) before
    anything is written.
    """
    fault = on_stack(CLEAR)
    rate, decay = (
        arg.number(fault, names.LEARNING_RATE, learning_rate),
        arg.number(fault, names.WEIGHT_DECAY, weight_decay),
    )
    args = on_stack(update_of(rate, (0.0, 0.0, 0.0, 0.0), decay, 1))
    arrays = (describe(parameters), describe(gradients), describe(None), describe(None))
    call(step_code(parameters), (*arrays, names.NO_NAME, names.NO_NAME, sgd_update(parameters), args, region(), fault))
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
    rate, decay = (
        arg.number(fault, names.LEARNING_RATE, learning_rate),
        arg.number(fault, names.WEIGHT_DECAY, weight_decay),
    )
    carried, ahead = arg.number(fault, names.MOMENTUM, momentum), arg.number(fault, names.NESTEROV, nesterov)
    args = on_stack(update_of(rate, (carried, ahead, 0.0, 0.0), decay, 1))
    arrays = (describe(parameters), describe(gradients), describe(velocity), describe(None))
    call(
        step_code(parameters),
        (*arrays, names.VELOCITY, names.NO_NAME, momentum_update(parameters), args, region(), fault),
    )
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
    rate, decay = (
        arg.number(fault, names.LEARNING_RATE, learning_rate),
        arg.number(fault, names.WEIGHT_DECAY, weight_decay),
    )
    first, second, least = (
        arg.number(fault, names.BETA1, beta1),
        arg.number(fault, names.BETA2, beta2),
        arg.number(fault, names.EPSILON, epsilon),
    )
    args = on_stack(update_of(rate, (first, second, least, 0.0), decay, arg.integer(step)))
    arrays = (describe(parameters), describe(gradients), describe(m), describe(v))
    call(step_code(parameters), (*arrays, names.M, names.V, adam_update(parameters), args, region(), fault))
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
    rate, decay = (
        arg.number(fault, names.LEARNING_RATE, learning_rate),
        arg.number(fault, names.WEIGHT_DECAY, weight_decay),
    )
    first, second, least = (
        arg.number(fault, names.BETA1, beta1),
        arg.number(fault, names.BETA2, beta2),
        arg.number(fault, names.EPSILON, epsilon),
    )
    args = on_stack(update_of(rate, (first, second, least, 0.0), decay, arg.integer(step)))
    arrays = (describe(parameters), describe(gradients), describe(m), describe(v))
    call(step_code(parameters), (*arrays, names.M, names.V, adamw_update(parameters), args, region(), fault))
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
    rate, decay = (
        arg.number(fault, names.LEARNING_RATE, learning_rate),
        arg.number(fault, names.WEIGHT_DECAY, weight_decay),
    )
    kept, least = arg.number(fault, names.RHO, rho), arg.number(fault, names.EPSILON, epsilon)
    args = on_stack(update_of(rate, (kept, least, 0.0, 0.0), decay, 1))
    arrays = (describe(parameters), describe(gradients), describe(None), describe(v))
    call(step_code(parameters), (*arrays, names.NO_NAME, names.V, rmsprop_update(parameters), args, region(), fault))
    raise_fault(fault)
    return parameters


@kernel
def adagrad_step(parameters, gradients, v, learning_rate, epsilon=1e-10, weight_decay=0.0):
    """v += g**2; parameters -= learning_rate g / (sqrt(v) + epsilon), g = gradients + weight_decay * parameters.

    Arguments, result and errors are those of `rmsprop_step`. Duchi, Hazan and Singer (2011).
    """
    fault = on_stack(CLEAR)
    rate, decay = (
        arg.number(fault, names.LEARNING_RATE, learning_rate),
        arg.number(fault, names.WEIGHT_DECAY, weight_decay),
    )
    args = on_stack(update_of(rate, (arg.number(fault, names.EPSILON, epsilon), 0.0, 0.0, 0.0), decay, 1))
    arrays = (describe(parameters), describe(gradients), describe(None), describe(v))
    call(step_code(parameters), (*arrays, names.NO_NAME, names.V, adagrad_update(parameters), args, region(), fault))
    raise_fault(fault)
    return parameters
