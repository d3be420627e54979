"""Arguments of the raw kernels: scalars as compiled code takes them, and the checks of arrays.

A public kernel describes its arguments, calls code that checks them before anything is written, and raises what that code
reports in a Fault: the checks are compiled once, not into every caller. A check returns whether all is well, and otherwise has
written the fault.
"""

from numba import types
from numba.extending import intrinsic

from fastbp.compiler import faults
from fastbp.compiler.arrays import (
    FLOAT32,
    FLOAT64,
    INTEGER,
    NOT_AN_ARRAY,
    NOTHING,
    bytes_of_label,
    lies_between,
    overlaps_itself,
    spans_meet,
)
from fastbp.compiler.faults import Fault, refuse
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import I64, get, places, pointer

# ------------------------------------------------------------------------------------------------------------- scalars


def stranger(x) -> int:
    """Return the place in STRANGERS of a numba type that is no real number."""
    kinds = (
        types.Array, types.NoneType, types.UnicodeType, types.Complex, types.List | types.ListType, types.BaseTuple,
    )  # fmt: skip
    return next((i for i, kind in enumerate(kinds) if isinstance(x, kind)), len(kinds))


@intrinsic
def number(typingctx, fault, name, x):
    """x as a float64; where it is no real number 0, and the Fault at `fault` says so. An array of no dimensions counts as one,
    and so does what may be None at run time, where numba raises."""
    found = x.dtype if isinstance(x, types.Array) and x.ndim == 0 else getattr(x, "type", x)

    def codegen(context, builder, signature, args):
        if isinstance(found, types.Integer | types.Boolean | types.Float):
            return context.cast(builder, args[2], x, types.float64)
        cells = {"fault": I64(faults.NOT_A_NUMBER), "name": args[1], "got": I64(stranger(x))}
        for field, value in cells.items():
            builder.store(value, pointer(builder, builder.add(args[0], I64(places(Fault)[field])), I64))
        return context.get_constant(types.float64, 0.0)

    return types.float64(types.int64, types.int64, x), codegen


@intrinsic
def integer(typingctx, x):
    """x as an int64, or the least int64 where x is no integer, for the checks to refuse."""

    def codegen(context, builder, signature, args):
        if not isinstance(x, types.Integer | types.Boolean):
            return I64(faults.NO_INTEGER)
        return context.cast(builder, args[0], x, types.int64)

    return types.int64(x), codegen


@inner
def check_numbers(fault):
    """Return whether what `number` was given are numbers."""
    return get(fault, Fault, "fault") == faults.NO_FAULT


@inner
def check_flag(fault, name, value):
    """`value` is 0 or 1."""
    if value != 0 and value != 1:
        return refuse(fault, faults.NOT_A_FLAG, name, got=value)
    return True


# -------------------------------------------------------------------------------------------------------------- arrays


@inner
def check_floats(fault, name, x, ndim, like, kind):
    """x is a float array of `ndim` dimensions and of dtype `kind`, the dtype of the argument `like`."""
    if x.kind == NOTHING or x.kind == NOT_AN_ARRAY:
        return refuse(fault, faults.NOT_ARRAY, name)
    if x.kind != FLOAT32 and x.kind != FLOAT64:
        return refuse(fault, faults.WRONG_DTYPE, name, got=x.kind)
    if x.kind != kind:
        return refuse(fault, faults.WRONG_DTYPE, name, got=x.kind, other=like, expected=kind)
    if x.ndim != ndim or ndim > 2 or ndim < 1:
        return refuse(fault, faults.WRONG_NDIM, name, got=x.ndim, expected=min(max(ndim, 1), 2))
    return True


@inner
def check_length(fault, name, axis, got, other, expected):
    """Return whether the argument `name` is as long along an axis as the argument `other` expects."""
    if got != expected:
        return refuse(fault, faults.WRONG_LENGTH, name, place=axis, got=got, other=other, expected=expected)
    return True


@inner
def check_shape(fault, name, x, rows, rows_of, columns, columns_of):
    """x has as many rows as `rows_of`, as many columns as `columns_of`."""
    rows_fit = check_length(fault, name, 0, x.rows, rows_of, rows)
    return rows_fit and check_length(fault, name, 1, x.columns, columns_of, columns)


@inner
def check_output(fault, name, x):
    """x can be written, each element by itself."""
    if x.writable == 0:
        return refuse(fault, faults.READ_ONLY, name)
    if overlaps_itself(x) and x.rows * x.columns > 0:
        return refuse(fault, faults.OVERLAPS, name)
    return True


@inner
def check_result(fault, name, out, like, kind, rows, rows_of, columns, columns_of):
    """`out` is a matrix of that kind and shape, and can be written."""
    return (
        check_floats(fault, name, out, 2, like, kind)
        and check_shape(fault, name, out, rows, rows_of, columns, columns_of)
        and check_output(fault, name, out)
    )


@inner
def check_apart(fault, name, x, other, y, size):
    """x (an output) shares no memory with y, an array of the same dtype, or None."""
    if y.kind == NOTHING or not spans_meet(x, size, y, size) or lies_between(x, y, size):
        return True
    return refuse(fault, faults.SHARES_MEMORY, name, other=other)


@inner
def check_apart_from_any(fault, name, x, other, y):
    """x (an output) shares no memory with y, an array of any dtype."""
    size = 4 if x.kind == FLOAT32 else 8
    if y.kind == x.kind:
        return check_apart(fault, name, x, other, y, size)
    if not spans_meet(x, size, y, bytes_of_label(y.kind) if y.kind >= INTEGER else 12 - size):
        return True
    return refuse(fault, faults.SHARES_MEMORY, name, other=other)


@inner
def check_apart_or_same(fault, name, x, other, y, size):
    """x (an output) is y itself, element for element, or shares no memory with it."""
    same = x.address == y.address and x.row_stride == y.row_stride and x.column_stride == y.column_stride
    return same or check_apart(fault, name, x, other, y, size)
