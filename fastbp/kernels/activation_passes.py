"""Element-wise passes over a block of a matrix: what follows a product, while the block is in L1.

    forward:   z = source + bias;  c = f(z)           backward:   c = source * f'(stored)

A pass is called as pass(args, c, crs, row, column, rows, columns): c is the address of the block of the output,
(row, column) its place in the whole matrix, where the other operands are looked up. Rows of all are contiguous.
"""

from typing import NamedTuple

from fastbp.compiler.code import code_family
from fastbp.compiler.llvm import fetch
from fastbp.compiler.vector import load, store, vector_of
from fastbp.kernels.activation_formulas import FORMULAS


class Forward(NamedTuple):
    """The operands of a forward pass; an address of 0 means that there is none.

    source: 0 stands for c itself. z: where to store the pre-activations. raised: the address of a Raised, for what a user's
    function raises.
    """

    source: int
    source_stride: int
    bias: int
    z: int
    z_stride: int
    raised: int


class Backward(NamedTuple):
    """The operands of a backward pass; source and raised as in Forward.

    stored: what the derivative is computed from, outputs or pre-activations.
    """

    source: int
    source_stride: int
    stored: int
    stored_stride: int
    raised: int


def size_and_lanes(real):
    """Return the bytes of an element of a dtype, and the elements of a vector."""
    return real.bitwidth // 8, vector_of(real).lanes


@code_family(FORMULAS)
def forward_pass(real, name):
    f = FORMULAS[name].f
    size, lanes = size_and_lanes(real)

    def forward_pass(args, c, crs, row, column, rows, columns):
        p = fetch(Forward, args)
        bias = p.bias + size * column
        for i in range(rows):
            target = c + i * crs
            source = target if p.source == 0 else p.source + (row + i) * p.source_stride + size * column
            z = p.z + (row + i) * p.z_stride + size * column
            for j in range(0, columns, lanes):
                n = columns - j
                x = load(source + size * j, n, real)
                if p.bias != 0:
                    x = x + load(bias + size * j, n, real)
                if p.z != 0:
                    store(z + size * j, x, n)
                store(target + size * j, f(x), n)
        return 0

    return forward_pass


@code_family(FORMULAS)
def backward_pass(real, name):
    derivative = FORMULAS[name].derivative
    size, lanes = size_and_lanes(real)

    def backward_pass(args, c, crs, row, column, rows, columns):
        p = fetch(Backward, args)
        for i in range(rows):
            target = c + i * crs
            source = target if p.source == 0 else p.source + (row + i) * p.source_stride + size * column
            stored = p.stored + (row + i) * p.stored_stride + size * column
            for j in range(0, columns, lanes):
                n = columns - j
                x = load(source + size * j, n, real) * derivative(load(stored + size * j, n, real))
                store(target + size * j, x, n)
        return 0

    return backward_pass
