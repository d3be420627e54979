"""The optimizers' updates, in place, one pass over flat vectors: the rules and their bodies.

Every rule starts from g = clip(scale * gradient) + weight_decay * p; AdamW's decay is apart. Scalars are computed in
float64, powers by multiplications (libm's pow differs from machine to machine), and rounded once to the dtype of the
vectors; what multiplies and adds is one fused operation. So the bits depend on the numbers alone.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from fastbp.compiler.code import code_family
from fastbp.compiler.jit import inlined, inner
from fastbp.compiler.llvm import call, fetch, on_stack, write
from fastbp.compiler.vector import fma, load, maximum, minimum, sqrt, store, vector_of
from fastbp.parallel.parts import share


class Update(NamedTuple):
    """One step of a rule on flat vectors of `size` elements; m or v is 0 where the rule keeps no such vector.

    h0 .. h3: the rule's own numbers, in the order of its kernel. scale: a factor of the gradients, applied first.
    clip: then each is limited to -clip .. clip. step: from 1.
    """

    parameters: int
    gradients: int
    m: int
    v: int
    size: int
    learning_rate: float
    h0: float
    h1: float
    h2: float
    h3: float
    weight_decay: float
    scale: float
    clip: float
    step: int


# ---------------------------------------------------------------------------------------------------------- the rules


class Rule(NamedTuple):
    """constants(u) returns what `step` needs of an Update, in float64; step(constants, g, p, m, v) returns the new p, m, v."""

    constants: Callable
    step: Callable
    has_m: bool
    has_v: bool
    decays_gradient: bool = True


@inner
def power(base, exponent):
    """Return base**exponent, for an int exponent >= 0, by repeated squaring."""
    result = 1.0
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


@inlined
def sgd_constants(u):
    return (u.learning_rate,)


@inlined
def sgd(c, g, p, m, v):
    """p <- p - learning_rate g"""
    return fma(-c[0], g, p), m, v


@inlined
def momentum_constants(u):
    return u.learning_rate, u.h0, u.h1


@inlined
def momentum(c, g, p, m, v):
    """m <- momentum m + g; p <- p - learning_rate (g + momentum m if nesterov else m)

    PyTorch's form of Polyak (1964) and of Nesterov's variant in Sutskever et al. (2013).
    """
    m = fma(c[1], m, g)
    ahead = fma(c[1], m, g) if c[2] != 0 else m
    return fma(-c[0], ahead, p), m, v


@inlined
def adam_constants(u):
    """1 - beta**step, which correct the biases, go into the rate and into epsilon: Kingma and Ba, end of section 2. Where
    h3 is not 0 epsilon is their "epsilon hat", which is added to the root as it is."""
    root = math.sqrt(1 - power(u.h1, u.step))
    rate = u.learning_rate * root / (1 - power(u.h0, u.step))
    epsilon = u.h2 * root if u.h3 == 0 else u.h2
    return rate, u.h0, 1 - u.h0, u.h1, 1 - u.h1, epsilon, 1 - u.learning_rate * u.weight_decay


@inlined
def adam(c, g, p, m, v):
    """m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g**2
    p <- p - learning_rate m / (1 - beta1**step) / (sqrt(v / (1 - beta2**step)) + epsilon)

    Kingma and Ba (2015).
    """
    m = fma(c[1], m, c[2] * g)
    v = fma(c[3], v, c[4] * (g * g))
    return fma(-c[0], m / (sqrt(v) + c[5]), p), m, v


@inlined
def adamw(c, g, p, m, v):
    """Adam after p <- p - learning_rate weight_decay p: Loshchilov and Hutter (2019)."""
    return adam(c, g, c[6] * p, m, v)


@inlined
def rmsprop_constants(u):
    return u.learning_rate, u.h0, 1 - u.h0, u.h1


@inlined
def rmsprop(c, g, p, m, v):
    """v <- rho v + (1 - rho) g**2; p <- p - learning_rate g / (sqrt(v) + epsilon): Tieleman and Hinton (2012)"""
    v = fma(c[1], v, c[2] * (g * g))
    return fma(-c[0], g / (sqrt(v) + c[3]), p), m, v


@inlined
def adagrad_constants(u):
    return u.learning_rate, u.h0


@inlined
def adagrad(c, g, p, m, v):
    """v <- v + g**2; p <- p - learning_rate g / (sqrt(v) + epsilon): Duchi, Hazan and Singer (2011)"""
    v = fma(g, g, v)
    return fma(-c[0], g / (sqrt(v) + c[1]), p), m, v


RULES = {
    "sgd": Rule(sgd_constants, sgd, False, False),
    "momentum": Rule(momentum_constants, momentum, True, False),
    "adam": Rule(adam_constants, adam, True, True),
    "adamw": Rule(adam_constants, adamw, True, True, decays_gradient=False),
    "rmsprop": Rule(rmsprop_constants, rmsprop, False, True),
    "adagrad": Rule(adagrad_constants, adagrad, False, True),
}


class Constants(NamedTuple):
    """What a rule's step needs beside the vectors: as many as it has, in its order."""

    c0: float
    c1: float
    c2: float
    c3: float
    c4: float
    c5: float
    c6: float


CONSTANTS_BYTES = 8 * len(Constants._fields)
NO_CONSTANTS = Constants(*[0.0] * len(Constants._fields))


@code_family(RULES)
def rule_constants(real, rule):
    """rule_constants(args, target): write the Constants of the Update at `args` to `target`."""
    constants = RULES[rule].constants

    def rule_constants(args, target):
        found = constants(fetch(Update, args))
        for i in range(len(found)):
            write(target + 8 * i, found[i])
        return 0

    return rule_constants


class Updated(NamedTuple):
    """A matrix of parameters, its moments, and how to update them.

    The rows of parameters, m and v are contiguous and `stride` bytes apart. constants: the address of the rule's Constants.
    """

    parameters: int
    m: int
    v: int
    stride: int
    constants: int
    weight_decay: float
    scale: float
    clip: float


@code_family(RULES)
def update_pass(real, rule):
    """update_pass(args, c, crs, row, column, rows, columns): update a block of the Updated at `args`, whose place is
    (row, column), by the block of the gradient at `c`: what a product calls on its strips while they are in L1."""
    _, step, has_m, has_v, decays = RULES[rule]
    size, lanes = real.bitwidth // 8, vector_of(real).lanes

    @inlined
    def update_row(u, c, decay, gradients, at, columns):
        for j in range(0, columns, lanes):
            n, here = columns - j, at + size * j
            p = load(u.parameters + here, n, real)
            g = minimum(u.clip, maximum(-u.clip, u.scale * load(gradients + size * j, n, real)))
            g = fma(decay, p, g) if decay != 0 else g
            m = load(u.m + here, n, real) if has_m else g
            v = load(u.v + here, n, real) if has_v else g
            p, m, v = step(c, g, p, m, v)
            store(u.parameters + here, p, n)
            if has_m:
                store(u.m + here, m, n)
            if has_v:
                store(u.v + here, v, n)

    def update_pass(args, c, crs, row, column, rows, columns):
        u = fetch(Updated, args)
        constants, decay = fetch(Constants, u.constants), u.weight_decay if decays else 0.0
        if crs == u.stride == size * columns:  # rows that lie side by side are one long row
            rows, columns = 1, rows * columns
        for i in range(rows):
            update_row(u, constants, decay, c + i * crs, (row + i) * u.stride + size * column, columns)
        return 0

    return update_pass


@code_family(RULES)
def update(real, rule):
    """update(args, part, parts): update a part of the elements of the Update at `args`."""
    constants_code, pass_code = rule_constants.single(rule), update_pass.single(rule)
    size, lanes = real.bitwidth // 8, vector_of(real).lanes

    def update(args, part, parts):
        u, constants = fetch(Update, args), on_stack(NO_CONSTANTS)
        call(constants_code(real), (args, constants))
        start, length = share(u.size, 4 * lanes, part, parts)
        whole = Updated(
            parameters=u.parameters,
            m=u.m,
            v=u.v,
            stride=0,
            constants=constants,
            weight_decay=u.weight_decay,
            scale=u.scale,
            clip=u.clip,
        )
        call(pass_code(real), (on_stack(whole), u.gradients + size * start, 0, 0, start, 1, length))
        return 0

    return update
