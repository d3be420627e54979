"""Activations and their derivatives as kernels, and the public names of their codes."""

import functools
from typing import NamedTuple

from fastbp.compiler import arguments as arg
from fastbp.compiler import faults, names
from fastbp.compiler.arrays import NOTHING, Array, as_row, describe, kind_of_dtype, nothing_like
from fastbp.compiler.code import code, code_per_dtype
from fastbp.compiler.faults import CLEAR, raise_fault
from fastbp.compiler.jit import inner, kernel
from fastbp.compiler.llvm import call, fetch, on_stack
from fastbp.compiler.strided import on_rows
from fastbp.kernels.activation_formulas import FORMULAS
from fastbp.kernels.activation_passes import Backward, Forward, backward_pass, forward_pass
from fastbp.kernels.operands import output_like
from fastbp.parallel.parts import share
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
    """A pass over a whole matrix, dealt to threads; `size`: bytes of an element."""

    pass_code: int
    pass_args: int
    c: int
    crs: int
    rows: int
    columns: int
    size: int


@code
def elementwise(args, part, parts):
    """elementwise(args, part, parts): the pass over a part of the rows, or of the elements of a single row."""
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
    """`activation` is one of `Activation`."""
    if activation < 0 or activation > LAST:
        return faults.refuse(fault, faults.UNKNOWN_CODE, names.ACTIVATION, got=activation, expected=LAST)
    return True


@inner
def is_flat(x, size):
    """Return whether the elements of x lie one after the other, so that it may count as a single row."""
    return x.column_stride == size and (x.row_stride == size * x.columns or x.rows == 1)


@functools.cache  # compiled once for all that use it
def pass_runner(real):
    """apply(activation, source, stored, out, region): out = f(source), or source * f'(stored) where that is given."""
    size = real.bitwidth // 8

    @inner
    def apply_to_rows(matrices, activation, region):
        x, s, c = matrices
        rows, columns = c.rows, c.columns
        if is_flat(c, size) and is_flat(x, size) and (s.kind == NOTHING or is_flat(s, size)):
            rows, columns = 1, rows * columns
        if s.kind == NOTHING:
            pass_code = forward_pass(real, activation)
            forward = Forward(source=x.address, source_stride=x.row_stride, bias=0, z=0, z_stride=0, raised=0)
            pass_args = on_stack(forward)
        else:
            pass_code = backward_pass(real, activation)
            backward = Backward(
                source=x.address, source_stride=x.row_stride, stored=s.address, stored_stride=s.row_stride, raised=0
            )
            pass_args = on_stack(backward)
        whole = Elementwise(
            pass_code=pass_code,
            pass_args=pass_args,
            c=c.address,
            crs=c.row_stride,
            rows=rows,
            columns=columns,
            size=size,
        )
        share_out_as(pass_code, region, elementwise(), on_stack(whole), FLOPS_PER_ELEMENT * rows * columns)

    run = on_rows(real, apply_to_rows, inputs=2, outputs=1)

    @inner
    def apply(activation, source, stored, out, region):
        run((source, stored, out), activation, region)

    return apply


@code_per_dtype
def activate_code(real):
    """activate_code(z, activation, out, region, fault): check, then the pass."""
    kind, size, apply = kind_of_dtype(real), real.bitwidth // 8, pass_runner(real)

    def activate_code(z, activation, out, region, fault):
        x, c = fetch(Array, z), fetch(Array, out)
        if (
            arg.check_floats(fault, names.Z, x, x.ndim, names.Z, kind)
            and check_activation(fault, activation)
            and arg.check_floats(fault, names.OUT, c, x.ndim, names.Z, kind)
            and arg.check_shape(fault, names.OUT, c, x.rows, names.Z, x.columns, names.Z)
            and arg.check_output(fault, names.OUT, c)
            and arg.check_apart_or_same(fault, names.OUT, c, names.Z, x, size)
        ):
            x = as_row(x)
            apply(activation, x, nothing_like(x), as_row(c), region)
        return 0

    return activate_code


@code_per_dtype
def activation_delta_code(real):
    """activation_delta_code(delta, stored, activation, out, region, fault): check, then the pass."""
    kind, size, apply = kind_of_dtype(real), real.bitwidth // 8, pass_runner(real)

    def activation_delta_code(delta, stored, activation, out, region, fault):
        d, s, c = fetch(Array, delta), fetch(Array, stored), fetch(Array, out)
        if (
            arg.check_floats(fault, names.DELTA, d, d.ndim, names.DELTA, kind)
            and arg.check_floats(fault, names.STORED, s, d.ndim, names.DELTA, kind)
            and arg.check_shape(fault, names.STORED, s, d.rows, names.DELTA, d.columns, names.DELTA)
            and check_activation(fault, activation)
            and arg.check_floats(fault, names.OUT, c, d.ndim, names.DELTA, kind)
            and arg.check_shape(fault, names.OUT, c, d.rows, names.DELTA, d.columns, names.DELTA)
            and arg.check_output(fault, names.OUT, c)
            and arg.check_apart_or_same(fault, names.OUT, c, names.DELTA, d, size)
            and arg.check_apart_or_same(fault, names.OUT, c, names.STORED, s, size)
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
    call(activate_code(z), (describe(z), arg.integer(activation), describe(result), region(), fault))
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
        (describe(delta), describe(stored), arg.integer(activation), describe(result), region(), fault),
    )
    raise_fault(fault)
    return result
