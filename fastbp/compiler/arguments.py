"""Arguments of the raw kernels: how compiled code describes them, the checks, and all the wording.

A public kernel describes its arguments (`describe`), calls code that checks them before anything is written, and
raises what that code reports in a Fault: the checks are compiled once, not into every caller.
"""

import functools
import struct
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import I64, fetch, uninitialised, write

# ------------------------------------------------------------------------------------------------ describing arguments

(
    NOTHING, NOT_AN_ARRAY, FLOAT16, COMPLEX64, COMPLEX128, DATETIME, TIMEDELTA, TEXT, RECORD, OTHER_DTYPE, FLOAT32, FLOAT64
) = range(12)  # fmt: skip
BOOLEAN = 24  # counts as an integer of one byte
INTEGER = 16  # + 2 * log2(bytes) + (1 if unsigned)
KINDS = {
    types.float16: FLOAT16, types.complex64: COMPLEX64, types.complex128: COMPLEX128, types.float32: FLOAT32,
    types.float64: FLOAT64,
}  # fmt: skip
KINDS_OF_CLASSES: dict[Any, int] = {
    types.NPDatetime: DATETIME, types.NPTimedelta: TIMEDELTA, types.CharSeq: TEXT, types.UnicodeCharSeq: TEXT,
    types.Record: RECORD,
}  # fmt: skip


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


def kind_of(x) -> int:
    """The kind of a numba type."""
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
    """The kind of arrays of numba's float32 or float64."""
    return KINDS[real]


@inner
def nothing_like(x):
    """An Array that stands for None, for code that chose x or nothing."""
    return Array(0, NOTHING, x.ndim, x.rows, x.columns, 0, 0, 0)


@intrinsic
def describe(typingctx, x):
    """The address of an Array, on the stack, that describes x: an array of one or two dimensions, None, or anything."""
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


@functools.cache
def kind_in_python(dtype: np.dtype) -> int:
    """The kind of a NumPy array of that dtype."""
    return kind_of(types.Array(from_dtype(dtype), 1, "A"))


def describe_in_python(x: np.ndarray | None) -> Array:
    """The Array of a NumPy array of one or two dimensions, or of None."""
    if x is None:
        return Array(0, NOTHING, 0, 0, 0, 0, 0, 0)
    shape, strides = (*x.shape, 1), (*x.strides, 0)
    kind = kind_in_python(x.dtype)
    return Array(x.ctypes.data, kind, x.ndim, shape[0], shape[1], strides[0], strides[1], int(x.flags.writeable))


def array_fields(context, builder, array_type, value, kind):
    array = context.make_array(array_type)(context, builder, value)
    shape = cgutils.unpack_tuple(builder, array.shape) if array_type.ndim else []
    strides = cgutils.unpack_tuple(builder, array.strides) if array_type.ndim else []
    shape, strides = [*shape, I64(1), I64(1)], [*strides, I64(0), I64(0)]
    numbers = [
        I64(kind),
        I64(array_type.ndim),
        shape[0],
        shape[1],
        strides[0],
        strides[1],
        I64(int(array_type.mutable)),
    ]
    return [builder.ptrtoint(array.data, I64), *numbers]


@intrinsic
def extent(typingctx, x, axis):
    """The length of x along axis 0 or 1; 0 where x has no such axis, for the checks to refuse."""

    def codegen(context, builder, signature, args):
        if not isinstance(x, types.Array):
            return I64(0)
        array = context.make_array(x)(context, builder, args[0])
        shape = [*(cgutils.unpack_tuple(builder, array.shape) if x.ndim else []), I64(0), I64(0)]
        return builder.select(builder.icmp_signed("==", args[1], I64(0)), shape[0], shape[1])

    return types.int64(x, types.int64), codegen


NO_INTEGER = -(2**63)


STRANGERS = ("an array", "None", "a string", "a complex number", "a list", "a tuple", "something else")


def stranger(x) -> int:
    """The place in STRANGERS of a numba type that is no real number."""
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
        base = builder.inttoptr(args[0], I64.as_pointer())
        for i, value in enumerate((I64(NOT_A_NUMBER), args[1], I64(0), I64(stranger(x)))):
            builder.store(value, builder.gep(base, [I64(i)]))
        return context.get_constant(types.float64, 0.0)

    return types.float64(types.int64, types.int64, x), codegen


@intrinsic
def integer(typingctx, x):
    """x as an int64, or the least int64 where x is no integer, for the checks to refuse."""

    def codegen(context, builder, signature, args):
        if not isinstance(x, types.Integer | types.Boolean):
            return I64(NO_INTEGER)
        return context.cast(builder, args[0], x, types.int64)

    return types.int64(x), codegen


# ------------------------------------------------------------------------------------------------------------- faults

FAULTS = range(25)
(
    NO_FAULT, NOT_ARRAY, WRONG_NDIM, WRONG_DTYPE, READ_ONLY, WRONG_LENGTH, SHARES_MEMORY, UNKNOWN_CODE, TOO_SMALL,
    OUT_OF_RANGE, WRONG_LABEL, NOT_TARGETS, TOO_MANY_ROWS, NO_ROW, NOT_A_FLAG,
    WRONG_WEIGHT, COPIED, IN_USE, OVERLAPS, NOT_A_NUMBER, LABEL_COLUMN, WRONG_TARGET, WRONG_SUM, NOT_HELD, NO_WEIGHT,
) = FAULTS  # fmt: skip
NAMES = (
    "delta", "a", "w", "b", "z", "out", "stored", "activation", "y", "sample_weight", "parameters", "gradients",
    "velocity", "m", "v", "x", "step", "p", "label_smoothing", "quantile", "norm", "value",
    "order", "input_delta", "the network", "accumulate",
    "moments", "training", "learning_rate", "weight_decay", "momentum", "nesterov", "beta1", "beta2", "epsilon", "rho",
)  # fmt: skip
(
    DELTA, A, W, B, Z, OUT, STORED, ACTIVATION, Y, SAMPLE_WEIGHT, PARAMETERS, GRADIENTS, VELOCITY, M, V, X, STEP, P,
    LABEL_SMOOTHING, QUANTILE, NORM, VALUE, ORDER, INPUT_DELTA, NETWORK, ACCUMULATE,
    MOMENTS, TRAINING, LEARNING_RATE, WEIGHT_DECAY, MOMENTUM, NESTEROV, BETA1, BETA2, EPSILON, RHO,
) = range(len(NAMES))  # fmt: skip


class Fault(NamedTuple):
    """Why a call is refused: a fault of argument `name`; the rest depends on the fault."""

    fault: int
    name: int
    axis: int
    got: int
    other: int
    expected: int


class ArgumentFault:
    """The sentence of a Fault, written when somebody reads it: formatting in compiled code costs its callers seconds."""

    def __str__(self):
        fault, name, axis, got, other, expected = self.args
        return f"{NAMES[name]}: " + WORDING[fault](axis, got, NAMES[other] if 0 <= other < len(NAMES) else "", expected)


class ShapeError(ArgumentFault, ValueError):
    """A raw kernel was given arrays whose shapes, values or places in memory do not go together."""


class InUse(ArgumentFault, RuntimeError):  # noqa: N818 (it says what is in use)
    """A verb was called while another thread is at work with the same Training."""


class DtypeError(ArgumentFault, TypeError):
    """A raw kernel was given something else than an array of the dtype it expects."""


DTYPE_NAMES = {
    FLOAT16: "float16", COMPLEX64: "complex64", COMPLEX128: "complex128", DATETIME: "datetime64", TIMEDELTA: "timedelta64",
    TEXT: "text", RECORD: "records", FLOAT32: "float32", FLOAT64: "float64", BOOLEAN: "bool",
}  # fmt: skip


def _dtype_name(kind):
    if INTEGER <= kind < BOOLEAN:
        return ("uint" if kind % 2 else "int") + str(8 << ((kind - INTEGER) // 2))
    return DTYPE_NAMES.get(kind, "of another kind")


ANY_INTEGER = -1  # in place of the kind that is expected


def _expected_dtype(expected, other):
    if expected == ANY_INTEGER:
        return "integer labels, or targets in 2 dimensions"
    if not expected:
        return "float32 or float64"
    return _dtype_name(expected) + (f", that of {other}" if other else "")


def _number_in(bits):
    """The float64 whose bits a Fault holds as an integer."""
    return struct.unpack("d", struct.pack("q", bits))[0]


EXPECTED_TARGETS = (
    "numbers of at least 0", "numbers from 0 to 1", "labels, or rows of probabilities, whose sum is 1",
)  # fmt: skip


def _integer_name(got):
    return "no integer" if got == NO_INTEGER else got


WORDING = {
    NOT_ARRAY: lambda axis, got, other, expected: (
        f"got no NumPy array, expected one of {_dtype_name(expected) if expected else 'float32 or float64'}"
    ),
    WRONG_NDIM: lambda axis, got, other, expected: f"got {got} dimensions, expected {expected}",
    WRONG_DTYPE: lambda axis, got, other, expected: (
        f"got dtype {_dtype_name(got)}, expected {_expected_dtype(expected, other)}"
    ),
    READ_ONLY: lambda axis, got, other, expected: "got a read-only array, expected one that can be written",
    WRONG_LENGTH: lambda axis, got, other, expected: (
        f"got {got} {('rows', 'columns')[axis]}, expected {expected}, as in {other}"
    ),
    OVERLAPS: lambda axis, got, other, expected: (
        "got elements that share memory with each other, as in a broadcast view, expected a place of its own for each"
    ),
    NOT_A_NUMBER: lambda axis, got, other, expected: f"got {STRANGERS[got]}, expected a number",
    SHARES_MEMORY: lambda axis, got, other, expected: f"shares memory with {other}, expected memory of its own",
    WRONG_WEIGHT: lambda axis, got, other, expected: (
        f"got {_number_in(got)} in row {axis}, expected weights of at least 0 that {_dtype_name(expected)} holds"
    ),
    NOT_A_FLAG: lambda axis, got, other, expected: f"got {_integer_name(got)}, expected True or False",
    UNKNOWN_CODE: lambda axis, got, other, expected: (
        f"got {_integer_name(got)}, expected one of fb.Activation, 0 to {expected}"
    ),
    TOO_SMALL: lambda axis, got, other, expected: (
        f"got {_integer_name(got)}, expected an integer of at least {expected}"
    ),
    OUT_OF_RANGE: lambda axis, got, other, expected: (
        f"got {_number_in(got)}, expected "
        + (f"a number from 0 to {expected}" if expected else "a number of at least 0")
    ),
    WRONG_LABEL: lambda axis, got, other, expected: f"got label {got} in row {axis}, expected 0 to {expected}",
    TOO_MANY_ROWS: lambda axis, got, other, expected: (
        f"got {got} rows, expected " + (f"1 to {expected}, the batch size" if expected else "at least one")
    ),
    IN_USE: lambda axis, got, other, expected: (
        "got one that another thread is at work with, expected one thread at a time: give each a net.training(...) of its own"
    ),
    NO_ROW: lambda axis, got, other, expected: f"got row {got} at place {axis}, expected 0 to {expected}",
    COPIED: lambda axis, got, other, expected: (
        "got a copy, whose addresses are another's, expected what net.training returned, as an argument and in the process "
        "where it did: send the network, and call net.training there"
    ),
    NOT_TARGETS: lambda axis, got, other, expected: (
        f"got {axis} dimensions of dtype {_dtype_name(got)}, "
        f"expected 1 of integers (labels) or 2 of {_dtype_name(expected)}"
    ),
    LABEL_COLUMN: lambda axis, got, other, expected: (
        f"got 2 dimensions of dtype {_dtype_name(got)} with 1 column, expected {expected}, as in {other}, "
        "or labels in one dimension: y.ravel()"
    ),
    WRONG_TARGET: lambda axis, got, other, expected: (
        f"got {_number_in(got)} in row {axis}, expected {EXPECTED_TARGETS[expected]}"
    ),
    WRONG_SUM: lambda axis, got, other, expected: (
        f"got a sum of {_number_in(got):.6g} in row {axis}, expected {EXPECTED_TARGETS[expected]}"
    ),
    NO_WEIGHT: lambda axis, got, other, expected: "got 0 in every row, expected at least one weight > 0",
    NOT_HELD: lambda axis, got, other, expected: (
        f"got {_number_in(got)} in row {axis}, expected numbers that {_dtype_name(expected)} holds"
    ),
}


CLEAR = Fault(0, 0, 0, 0, 0, 0)


@inner
def raise_fault(address):
    """Raise what the checks wrote at `address`, if anything."""
    f = fetch(Fault, address)
    if f.fault == NOT_ARRAY or f.fault == WRONG_DTYPE or f.fault == COPIED or f.fault == NOT_A_NUMBER:
        raise DtypeError(f.fault, f.name, f.axis, f.got, f.other, f.expected)
    if f.fault == IN_USE:
        raise InUse(f.fault, f.name, f.axis, f.got, f.other, f.expected)
    if f.fault != NO_FAULT:
        raise ShapeError(f.fault, f.name, f.axis, f.got, f.other, f.expected)


@inner
def refuse(address, fault, name, axis, got, other, expected):
    """Write a Fault, unless an earlier one stands there; always False."""
    if fetch(Fault, address).fault == NO_FAULT:
        for i, field in enumerate((fault, name, axis, got, other, expected)):
            write(address + 8 * i, field)
    return False


# ------------------------------------------------------------------------------------------------------------- checks
# Each returns whether all is well, and otherwise has written the fault.


@inner
def check_numbers(fault):
    """What `number` was given are numbers."""
    return fetch(Fault, fault).fault == NO_FAULT


@inner
def check_floats(fault, name, x, ndim, like, kind):
    """x is a float array of `ndim` dimensions and of dtype `kind`, the dtype of the argument `like`."""
    if x.kind == NOTHING or x.kind == NOT_AN_ARRAY:
        return refuse(fault, NOT_ARRAY, name, 0, 0, 0, 0)
    if x.kind != FLOAT32 and x.kind != FLOAT64:
        return refuse(fault, WRONG_DTYPE, name, 0, x.kind, 0, 0)
    if x.kind != kind:
        return refuse(fault, WRONG_DTYPE, name, 0, x.kind, like, kind)
    if x.ndim != ndim or ndim > 2 or ndim < 1:
        return refuse(fault, WRONG_NDIM, name, 0, x.ndim, 0, min(max(ndim, 1), 2))
    return True


@inner
def check_length(fault, name, axis, got, other, expected):
    if got != expected:
        return refuse(fault, WRONG_LENGTH, name, axis, got, other, expected)
    return True


@inner
def check_shape(fault, name, x, rows, rows_of, columns, columns_of):
    """x has as many rows as `rows_of`, as many columns as `columns_of`."""
    rows_fit = check_length(fault, name, 0, x.rows, rows_of, rows)
    return rows_fit and check_length(fault, name, 1, x.columns, columns_of, columns)


@inner
def check_flag(fault, name, value):
    if value != 0 and value != 1:
        return refuse(fault, NOT_A_FLAG, name, 0, value, 0, 0)
    return True


@inner
def overlaps_itself(x):
    """Whether two elements of x share memory: a step along the axis of short strides stays within an element, or one along
    the other within a line."""
    by_rows = abs(x.row_stride) >= abs(x.column_stride)
    step, count = abs(x.row_stride if by_rows else x.column_stride), x.rows if by_rows else x.columns
    within, elements = abs(x.column_stride if by_rows else x.row_stride), x.columns if by_rows else x.rows
    size = 4 if x.kind == FLOAT32 else 8
    line = within * (elements - 1) + size if elements > 1 else size
    return (elements > 1 and within < size) or (count > 1 and step < line)


@inner
def check_output(fault, name, x):
    """x can be written, each element by itself."""
    if x.writable == 0:
        return refuse(fault, READ_ONLY, name, 0, 0, 0, 0)
    if overlaps_itself(x) and x.rows * x.columns > 0:
        return refuse(fault, OVERLAPS, name, 0, 0, 0, 0)
    return True


@inner
def span(x, size):
    """The first address of an array and the one past its last."""
    rows, columns = (x.rows - 1) * x.row_stride, (x.columns - 1) * x.column_stride
    return x.address + min(rows, 0) + min(columns, 0), x.address + max(rows, 0) + max(columns, 0) + size


@inner
def lies_between(x, y, size):
    """Whether x lies in the gaps that the rows (or columns) of y leave: both step through memory in equal strides,
    and their lines do not meet. Two column slices of one buffer are the usual case."""
    by_rows = abs(y.row_stride) >= abs(y.column_stride)
    step = abs(y.row_stride if by_rows else y.column_stride)
    if step == 0 or step != abs(x.row_stride if by_rows else x.column_stride):
        return False
    x_line = abs(x.column_stride) * (x.columns - 1) if by_rows else abs(x.row_stride) * (x.rows - 1)
    y_line = abs(y.column_stride) * (y.columns - 1) if by_rows else abs(y.row_stride) * (y.rows - 1)
    offset = (span(x, size)[0] - span(y, size)[0]) % step
    return offset >= y_line + size and offset + x_line + size <= step


@inner
def check_apart(fault, name, x, other, y, size):
    """x (an output) shares no memory with y."""
    if y.kind == NOTHING or x.rows * x.columns == 0 or y.rows * y.columns == 0:
        return True
    x_first, x_end = span(x, size)
    y_first, y_end = span(y, size)
    if x_end <= y_first or y_end <= x_first or lies_between(x, y, size):
        return True
    return refuse(fault, SHARES_MEMORY, name, 0, 0, other, 0)


@inner
def check_apart_from_any(fault, name, x, other, y):
    """x (an output) shares no memory with y, an array of any dtype."""
    size = 4 if x.kind == FLOAT32 else 8
    if y.kind == x.kind:
        return check_apart(fault, name, x, other, y, size)
    x_first, x_end = span(x, size)
    y_first, y_end = span(y, 1 << ((y.kind - INTEGER) // 2 & 3) if y.kind >= INTEGER else 12 - size)
    if x_end <= y_first or y_end <= x_first or x.rows * x.columns == 0 or y.rows * y.columns == 0:
        return True
    return refuse(fault, SHARES_MEMORY, name, 0, 0, other, 0)


@inner
def check_apart_or_same(fault, name, x, other, y, size):
    """x (an output) is y itself, element for element, or shares no memory with it."""
    same = x.address == y.address and x.row_stride == y.row_stride and x.column_stride == y.column_stride
    return same or check_apart(fault, name, x, other, y, size)
