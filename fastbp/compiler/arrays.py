"""Arrays as compiled code sees them: an address, strides in bytes, and a number for the dtype."""

import functools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import I64, uninitialised

# ----------------------------------------------------------------------------------------------------- kinds of arrays

(
    NOTHING, NOT_AN_ARRAY, FLOAT16, COMPLEX64, COMPLEX128, DATETIME, TIMEDELTA, TEXT, RECORD, OTHER_DTYPE, FLOAT32, FLOAT64
) = range(12)  # fmt: skip
INTEGER = 16  # + 2 * log2(bytes) + (1 if unsigned)
BOOLEAN = 24  # counts as an integer of one byte
KINDS = {
    types.float16: FLOAT16, types.complex64: COMPLEX64, types.complex128: COMPLEX128, types.float32: FLOAT32,
    types.float64: FLOAT64,
}  # fmt: skip
KINDS_OF_CLASSES: dict[Any, int] = {
    types.NPDatetime: DATETIME, types.NPTimedelta: TIMEDELTA, types.CharSeq: TEXT, types.UnicodeCharSeq: TEXT,
    types.Record: RECORD,
}  # fmt: skip


def kind_of(x) -> int:
    """Return the kind of a numba type."""
    if isinstance(x, types.NoneType | types.Omitted):
        return NOTHING
    if not isinstance(x, types.Array):
        return NOT_AN_ARRAY
    if isinstance(x.dtype, types.Boolean):
        return BOOLEAN
    if isinstance(x.dtype, types.Integer):
        width: Any = x.dtype
        return INTEGER + 2 * (width.bitwidth.bit_length() - 4) + int(not width.signed)
    return KINDS.get(x.dtype) or KINDS_OF_CLASSES.get(type(x.dtype), OTHER_DTYPE)


def kind_of_dtype(real) -> int:
    """Return the kind of arrays of numba's float32 or float64."""
    return KINDS[real]


@inner
def bytes_of_label(kind):
    """Return the size of an integer of that kind."""
    return 1 << ((kind - INTEGER) // 2 & 3)


# ------------------------------------------------------------------------------------------------------- describing them


class Array(NamedTuple):
    """What compiled code knows of an argument. Strides in bytes; a vector has one column; None is `NOTHING`."""

    address: int
    kind: int
    ndim: int
    rows: int
    columns: int
    row_stride: int
    column_stride: int
    writable: int


@intrinsic
def describe(typingctx, x):
    """Return the address of an Array, on the stack, that describes x: an array of one or two dimensions, None, or anything."""
    kind = kind_of(x)

    def codegen(context, builder, signature, args):
        fields = [I64(0), I64(kind), *[I64(0)] * 6]
        if kind not in (NOTHING, NOT_AN_ARRAY):
            fields = array_fields(context, builder, x, args[0], kind)
        room = uninitialised(builder, ir.ArrayType(I64, len(fields)))
        for i, field in enumerate(fields):
            builder.store(field, builder.gep(room, [I64(0), I64(i)]))
        return builder.ptrtoint(room, I64)

    return types.int64(x), codegen


def array_fields(context, builder, array_type, value, kind):
    """Return the fields of the Array of a numba array, as LLVM values."""
    array = context.make_array(array_type)(context, builder, value)
    shape = cgutils.unpack_tuple(builder, array.shape) if array_type.ndim else []
    strides = cgutils.unpack_tuple(builder, array.strides) if array_type.ndim else []
    rows, columns = [*shape, I64(1), I64(1)][:2]
    row_stride, column_stride = [*strides, I64(0), I64(0)][:2]
    address, ndim, writable = builder.ptrtoint(array.data, I64), I64(array_type.ndim), I64(int(array_type.mutable))
    return [address, I64(kind), ndim, rows, columns, row_stride, column_stride, writable]


@functools.cache
def kind_in_python(dtype: np.dtype) -> int:
    """Return the kind of a NumPy array of that dtype."""
    return kind_of(types.Array(from_dtype(dtype), 1, "A"))


def describe_in_python(x: np.ndarray | None) -> Array:
    """Return the Array of a NumPy array of one or two dimensions, or of None."""
    if x is None:
        return Array(0, NOTHING, 0, 0, 0, 0, 0, 0)
    shape, strides = (*x.shape, 1), (*x.strides, 0)
    kind = kind_in_python(x.dtype)
    return Array(x.ctypes.data, kind, x.ndim, shape[0], shape[1], strides[0], strides[1], int(x.flags.writeable))


@intrinsic
def extent(typingctx, x, axis):
    """Return the length of x along axis 0 or 1; 0 where x has no such axis, for the checks to refuse."""

    def codegen(context, builder, signature, args):
        if not isinstance(x, types.Array):
            return I64(0)
        array = context.make_array(x)(context, builder, args[0])
        shape = [*(cgutils.unpack_tuple(builder, array.shape) if x.ndim else []), I64(0), I64(0)]
        return builder.select(builder.icmp_signed("==", args[1], I64(0)), shape[0], shape[1])

    return types.int64(x, types.int64), codegen


# ------------------------------------------------------------------------------------------------- one Array of another


@inner
def matrix_like(x, address, rows, columns, row_stride, column_stride):
    """Return an Array of the kind of x with that place and shape."""
    return Array(
        address=address,
        kind=x.kind,
        ndim=2,
        rows=rows,
        columns=columns,
        row_stride=row_stride,
        column_stride=column_stride,
        writable=x.writable,
    )


@inner
def nothing_like(x):
    """Return an Array that stands for None, for code that chose x or nothing."""
    return Array(0, NOTHING, x.ndim, x.rows, x.columns, 0, 0, 0)


@inner
def as_row(x):
    """Return a vector as a matrix of one row; anything else as it is."""
    if x.ndim != 1:
        return x
    return matrix_like(x, x.address, 1, x.rows, x.row_stride * x.rows, x.row_stride)


@inner
def transposed(x):
    """Return the transpose of a matrix, in the same memory."""
    return matrix_like(x, x.address, x.columns, x.rows, x.column_stride, x.row_stride)


# --------------------------------------------------------------------------------------------------- where its bytes lie


@inner
def span(x, size):
    """Return the first address of an array and the one past its last."""
    rows, columns = (x.rows - 1) * x.row_stride, (x.columns - 1) * x.column_stride
    return x.address + min(rows, 0) + min(columns, 0), x.address + max(rows, 0) + max(columns, 0) + size


@inner
def spans_meet(x, x_size, y, y_size):
    """Return whether the memory from the first to the last element of x, of `x_size` bytes each, and that of y have a byte
    in common; an array without elements has no memory."""
    x_first, x_end = span(x, x_size)
    y_first, y_end = span(y, y_size)
    return x_first < y_end and y_first < x_end and x.rows * x.columns > 0 and y.rows * y.columns > 0


@inner
def overlaps_itself(x):
    """Return whether two elements of x share memory: a step along the axis of short strides stays within an element, or one
    along the other within a line."""
    by_rows = abs(x.row_stride) >= abs(x.column_stride)
    step, count = abs(x.row_stride if by_rows else x.column_stride), x.rows if by_rows else x.columns
    within, elements = abs(x.column_stride if by_rows else x.row_stride), x.columns if by_rows else x.rows
    size = 4 if x.kind == FLOAT32 else 8
    line = within * (elements - 1) + size if elements > 1 else size
    return (elements > 1 and within < size) or (count > 1 and step < line)


@inner
def lies_between(x, y, size):
    """Return whether x lies in the gaps that the rows (or columns) of y leave: both step through memory in equal strides,
    and their lines do not meet. Two column slices of one buffer are the usual case."""
    by_rows = abs(y.row_stride) >= abs(y.column_stride)
    step = abs(y.row_stride if by_rows else y.column_stride)
    if step == 0 or step != abs(x.row_stride if by_rows else x.column_stride):
        return False
    x_line = abs(x.column_stride) * (x.columns - 1) if by_rows else abs(x.row_stride) * (x.rows - 1)
    y_line = abs(y.column_stride) * (y.columns - 1) if by_rows else abs(y.row_stride) * (y.rows - 1)
    offset = (span(x, size)[0] - span(y, size)[0]) % step
    return offset >= y_line + size and offset + x_line + size <= step
