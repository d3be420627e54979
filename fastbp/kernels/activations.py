"""Activations and their derivatives as kernels, and the public names of their codes."""

import functools
from typing import NamedTuple

import numpy as np

from fastbp.compiler.arguments import (
    ACTIVATION,
    CLEAR,
    DELTA,
    NOTHING,
    OUT,
    STORED,
    UNKNOWN_CODE,
    Array,
    Z,
    check_apart_or_same,
    check_floats,
    check_output,
    check_shape,
    describe,
    integer,
    kind_of_dtype,
    nothing_like,
    raise_fault,
    refuse,
)
from fastbp.compiler.code import code, code_per_dtype
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import address_of, call, fetch, on_stack
from fastbp.gemm.driver import share
from fastbp.gemm.pack import copier
from fastbp.kernels.activation_formulas import FORMULAS
from fastbp.kernels.activation_passes import Backward, Forward, backward_pass, forward_pass
from fastbp.kernels.operands import as_row, bytes_of_rows, output_like, row_maker
from fastbp.parallel.region import region
from fastbp.parallel.sharing import share_out_as


class Codes(NamedTuple):
    """A code for each activation, in the order of FORMULAS."""

    IDENTITY: int
    RELU: int
    LEAKY_RELU: int
    ELU: int
    SELU: int
    GELU: int
    GELU_TANH: int
    SILU: int
    MISH: int
    SOFTPLUS: int
    TANH: int
    SIGMOID: int
    HARD_SIGMOID: int


Activation = Codes(*range(len(FORMULAS)))
"""The code of each activation: `Activation.RELU` is a plain int, legal in nopython code."""

LAST = len(FORMULAS) - 1
FLOPS_PER_ELEMENT = 32.0  # what a pass costs an element, for the choice of threads


class Elementwise(NamedTuple):
    """A pass over a whole matrix, dealt to threads."""

    pass_code: int
    pass_args: int
    c: int
    crs: int
    rows: int
    columns: int
    size: int


@code
def elementwise(args, part, parts):
    """elementwise(args, part, parts): the part of the rows, or of the elements of a single row."""
    p = fetch(Elementwise, args)
    row, column, rows, columns = 0, 0, p.rows, p.columns
    if p.rows == 1:
        column, columns = share(p.columns, 64, part, parts)
    else:
        row, rows = share(p.rows, 1, part, parts)
    if rows > 0 and columns > 0:
        c = p.c + row * p.crs + column * p.size
        call(p.pass_code, (p.pass_args, c, p.crs, row, column, rows, columns))
    return 0


@inner
def check_activation(fault, activation):
    if activation < 0 or activation > LAST:
        return refuse(fault, UNKNOWN_CODE, ACTIVATION, 0, activation, 0, LAST)
    return True


@inner
def is_flat(x, size):
    """Whether the elements of x lie one after the other, so that it may count as a single row."""
    return x.column_stride == size and (x.row_stride == size * x.columns or x.rows == 1)


@functools.cache  # compiled once for all that use it
def pass_runner(real):
    """apply(activation, source, stored, out, region): out = f(source), or source * f'(stored) where that is given."""
    size, with_rows, copy = real.bitwidth // 8, row_maker(real), copier(real)

    @inner
    def apply_to_rows(activation, x, s, c, region):
        rows, columns = c.rows, c.columns
        if is_flat(c, size) and is_flat(x, size) and (s.kind == NOTHING or is_flat(s, size)):
            rows, columns = 1, rows * columns
        if s.kind == NOTHING:
            pass_code = forward_pass(real, activation)
            pass_args = on_stack(Forward(x.address, x.row_stride, 0, 0, 0, 0))
        else:
            pass_code = backward_pass(real, activation)
            pass_args = on_stack(Backward(x.address, x.row_stride, s.address, s.row_stride, 0))
        args = on_stack(Elementwise(pass_code, pass_args, c.address, c.row_stride, rows, columns, size))
        share_out_as(pass_code, region, elementwise(), args, FLOPS_PER_ELEMENT * rows * columns)

    @inner
    def apply_to_copies(activation, source, stored, out, region, needed):
        room = np.empty(needed, np.uint8)
        work = address_of(room)
        x = with_rows(source, work, True)
        work += bytes_of_rows(source, size)
        s = with_rows(stored, work, True)
        work += bytes_of_rows(stored, size)
        c = with_rows(out, work, False)
        apply_to_rows(activation, x, s, c, region)
        if c.address != out.address:
            copy(out.address, out.row_stride, out.column_stride, work, c.row_stride, size, out.rows, out.columns)
        room[0] = 0  # its address does not keep it alive

    @inner
    def apply(activation, source, stored, out, region):
        needed = bytes_of_rows(source, size) + bytes_of_rows(stored, size) + bytes_of_rows(out, size)
        if needed == 0:
            apply_to_rows(activation, source, stored, out, region)
        else:
            apply_to_copies(activation, source, stored, out, region, needed)

    return apply


@code_per_dtype
def activate_code(real):
    kind, size, apply = kind_of_dtype(real), real.bitwidth // 8, pass_runner(real)

    def activate_code(z, activation, out, region, fault):
        x, c = fetch(Array, z), fetch(Array, out)
        if (
            check_floats(fault, Z, x, x.ndim, Z, kind)
            and check_activation(fault, activation)
            and check_floats(fault, OUT, c, x.ndim, Z, kind)
            and check_shape(fault, OUT, c, x.rows, Z, x.columns, Z)
            and check_output(fault, OUT, c)
            and check_apart_or_same(fault, OUT, c, Z, x, size)
        ):
            x = as_row(x)
            apply(activation, x, nothing_like(x), as_row(c), region)
        return 0

    return activate_code


@code_per_dtype
def activation_delta_code(real):
    kind, size, apply = kind_of_dtype(real), real.bitwidth // 8, pass_runner(real)

    def activation_delta_code(delta, stored, activation, out, region, fault):
        d, s, c = fetch(Array, delta), fetch(Array, stored), fetch(Array, out)
        if (
            check_floats(fault, DELTA, d, d.ndim, DELTA, kind)
            and check_floats(fault, STORED, s, d.ndim, DELTA, kind)
            and check_shape(fault, STORED, s, d.rows, DELTA, d.columns, DELTA)
            and check_activation(fault, activation)
            and check_floats(fault, OUT, c, d.ndim, DELTA, kind)
            and check_shape(fault, OUT, c, d.rows, DELTA, d.columns, DELTA)
            and check_output(fault, OUT, c)
            and check_apart_or_same(fault, OUT, c, DELTA, d, size)
            and check_apart_or_same(fault, OUT, c, STORED, s, size)
        ):
            apply(activation, as_row(d), as_row(s), as_row(c), region)
        return 0

    return activation_delta_code


@kernel
def activate(z, activation, out=None):
    """activation(z), element by element, for z of one or two dimensions.

    z: float32 or float64, any strides. activation: one of `fb.Activation`. out: of the shape and dtype of z, overwritten;
    it may be z itself, and is allocated when None. Returns out. Raises ShapeError (a ValueError) or DtypeError (a
    TypeError) before anything is written.
    """
    result = output_like(out, z)
    fault = on_stack(CLEAR)
    call(activate_code(z), (describe(z), integer(activation), describe(result), region(), fault))
    raise_fault(fault)
    return result


@kernel
def activation_delta(delta, stored, activation, out=None):
    """delta * activation'(stored), element by element: dC/dz from dC/d(output).

    delta, stored: float32 or float64 of one shape, of one or two dimensions. stored: what the derivative is computed from,
    the output of identity, relu, leaky_relu, elu, selu, tanh, sigmoid, hard_sigmoid and softplus, the pre-activation
    of gelu, gelu_tanh, silu and mish. out: overwritten; it may be delta or stored itself, and is allocated when None.
    Returns out. Raises ShapeError (a ValueError) or DtypeError (a TypeError) before anything is written.
    """
    result = output_like(out, delta)
    fault = on_stack(CLEAR)
    call(
        activation_delta_code(delta),
        (describe(delta), describe(stored), integer(activation), describe(result), region(), fault),
    )
    raise_fault(fault)
    return result
