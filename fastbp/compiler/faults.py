"""Faults of arguments: what compiled code notes when it refuses a call, and the errors and sentences that come of it.

Compiled code writes six numbers. The sentence is made of them when it is read: to format it in compiled code would cost each
caller seconds of compilation.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from numba import types

from fastbp.compiler.arrays import (
    BOOLEAN,
    COMPLEX64,
    COMPLEX128,
    DATETIME,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INTEGER,
    NOTHING,
    RECORD,
    TEXT,
    TIMEDELTA,
)
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import fetch, get, on_stack, put, read
from fastbp.compiler.names import NAMES


class Fault(NamedTuple):
    """Why a call is refused: a fault of argument `name`; what the other numbers mean says the sentence of the fault."""

    fault: int
    name: int
    place: int  # an axis, a row, or a place in an order
    got: int
    other: int  # the name of another argument, with which this one does not go together
    expected: int


CLEAR = Fault(fault=0, name=0, place=0, got=0, other=0, expected=0)

# -------------------------------------------------------------------------------------- what a number of a Fault stands for

NO_INTEGER = -(2**63)  # an argument that had to be an integer and was none
ANY_INTEGER = -1  # in place of the kind that is expected
STRANGERS = ("an array", "None", "a string", "a complex number", "a list", "a tuple", "something else")
TARGETS = (
    "numbers of at least 0", "numbers from 0 to 1", "labels, or rows of probabilities, whose sum is 1",
)  # fmt: skip
DTYPE_NAMES = {
    ANY_INTEGER: "integer labels, or targets in 2 dimensions", NOTHING: "float32 or float64", FLOAT16: "float16",
    COMPLEX64: "complex64", COMPLEX128: "complex128", DATETIME: "datetime64", TIMEDELTA: "timedelta64", TEXT: "text",
    RECORD: "records", FLOAT32: "float32", FLOAT64: "float64", BOOLEAN: "bool",
}  # fmt: skip


def dtype_of(kind: int) -> str:
    """Return the name of a kind of arrays."""
    if INTEGER <= kind < BOOLEAN:
        return ("uint" if kind % 2 else "int") + str(8 << ((kind - INTEGER) // 2))
    return DTYPE_NAMES.get(kind, "of another kind")


def number_of(bits: int) -> float:
    """Return the float64 whose bits a Fault holds as an integer."""
    return struct.unpack("d", struct.pack("q", bits))[0]


MEANINGS: dict[str, Callable[[int], object]] = {
    "": int,
    "argument": lambda number: NAMES[number],
    "axis": lambda axis: ("rows", "columns")[axis],
    "dtype": dtype_of,
    "float": number_of,
    "integer": lambda number: "no integer" if number == NO_INTEGER else number,
    "of": lambda number: f", that of {NAMES[number]}" if number else "",
    "range": lambda highest: f"a number from 0 to {highest}" if highest else "a number of at least 0",
    "rounded": lambda bits: f"{number_of(bits):.6g}",
    "rows": lambda most: f"1 to {most}, the batch size" if most else "at least one",
    "stranger": lambda place: STRANGERS[place],
    "targets": lambda place: TARGETS[place],
}


class Number(int):
    """A number of a Fault, which a sentence shows as what it stands for: `{got:dtype}`."""

    def __format__(self, meaning: str) -> str:
        return str(MEANINGS[meaning](int(self)))


# --------------------------------------------------------------------------------------------------------- the errors


class ArgumentFault:
    """An error whose sentence is written when it is read."""

    def __str__(self):
        numbers = {field: Number(number) for field, number in zip(Fault._fields, self.args, strict=True)}
        return ("{name:argument}: " + SENTENCES[numbers["fault"]]).format(**numbers)


class ShapeError(ArgumentFault, ValueError):
    """A raw kernel was given arrays whose shapes, values or places in memory do not go together."""


class DtypeError(ArgumentFault, TypeError):
    """A raw kernel was given something else than an array of the dtype it expects."""


class InUse(ArgumentFault, RuntimeError):  # noqa: N818 (it says what is in use)
    """A verb was called while another thread is at work with the same Training."""


# -------------------------------------------------------------------------------------------------- the table of faults

ERRORS = (ShapeError, DtypeError, InUse)
ERROR_BITS = 2  # the low bits of a fault's number say which of ERRORS is raised
NO_FAULT = 0
SENTENCES: dict[int, str] = {}  # of the fault of each number


def fault(error: type, sentence: str) -> int:
    """Return the number of a new fault, and its entry in the table."""
    number = len(SENTENCES) + 1 << ERROR_BITS | ERRORS.index(error)
    SENTENCES[number] = sentence
    return number


COPIED = fault(
    DtypeError,
    "got a copy, whose addresses are another's, expected what net.training returned, as an argument and in the process "
    "where it did: send the network, and call net.training there",
)
IN_USE = fault(
    InUse,
    "got one that another thread is at work with, expected one thread at a time: give each a net.training(...) of its own",
)
LABEL_COLUMN = fault(
    ShapeError,
    "got 2 dimensions of dtype {got:dtype} with 1 column, expected {expected}, as in {other:argument}, "
    "or labels in one dimension: y.ravel()",
)
NOT_ARRAY = fault(DtypeError, "got no NumPy array, expected one of {expected:dtype}")
NOT_A_FLAG = fault(ShapeError, "got {got:integer}, expected True or False")
NOT_A_NUMBER = fault(DtypeError, "got {got:stranger}, expected a number")
NOT_HELD = fault(ShapeError, "got {got:float} in row {place}, expected numbers that {expected:dtype} holds")
NOT_TARGETS = fault(
    ShapeError,
    "got {place} dimensions of dtype {got:dtype}, expected 1 of integers (labels) or 2 of {expected:dtype}",
)
NO_ROW = fault(ShapeError, "got row {got} at place {place}, expected 0 to {expected}")
NO_WEIGHT = fault(ShapeError, "got 0 in every row, expected at least one weight > 0")
OUT_OF_RANGE = fault(ShapeError, "got {got:float}, expected {expected:range}")
OVERLAPS = fault(
    ShapeError,
    "got elements that share memory with each other, as in a broadcast view, expected a place of its own for each",
)
READ_ONLY = fault(ShapeError, "got a read-only array, expected one that can be written")
SHARES_MEMORY = fault(ShapeError, "shares memory with {other:argument}, expected memory of its own")
TOO_MANY_ROWS = fault(ShapeError, "got {got} rows, expected {expected:rows}")
TOO_SMALL = fault(ShapeError, "got {got:integer}, expected an integer of at least {expected}")
UNKNOWN_CODE = fault(ShapeError, "got {got:integer}, expected one of fb.Activation, 0 to {expected}")
WRONG_DTYPE = fault(DtypeError, "got dtype {got:dtype}, expected {expected:dtype}{other:of}")
WRONG_LABEL = fault(ShapeError, "got label {got} in row {place}, expected 0 to {expected}")
WRONG_LENGTH = fault(ShapeError, "got {got} {place:axis}, expected {expected}, as in {other:argument}")
WRONG_NDIM = fault(ShapeError, "got {got} dimensions, expected {expected}")
WRONG_SUM = fault(ShapeError, "got a sum of {got:rounded} in row {place}, expected {expected:targets}")
WRONG_TARGET = fault(ShapeError, "got {got:float} in row {place}, expected {expected:targets}")
WRONG_WEIGHT = fault(
    ShapeError, "got {got:float} in row {place}, expected weights of at least 0 that {expected:dtype} holds"
)
DTYPE_ERROR, IN_USE_ERROR = ERRORS.index(DtypeError), ERRORS.index(InUse)
ERROR_MASK = (1 << ERROR_BITS) - 1


class FloatCell(NamedTuple):
    """Where a float64 lies while it is read as bits."""

    value: float


@inner
def bits_of(number):
    """Return a float64 as a Fault holds it."""
    return read(on_stack(FloatCell(value=number)), types.int64)


@inner
def refuse(address, fault, name, place=0, got=0, other=0, expected=0):
    """Write a Fault, unless an earlier one stands there; always False."""
    if get(address, Fault, "fault") == NO_FAULT:
        put(address, Fault, "fault", fault)
        put(address, Fault, "name", name)
        put(address, Fault, "place", place)
        put(address, Fault, "got", got)
        put(address, Fault, "other", other)
        put(address, Fault, "expected", expected)
    return False


@inner
def raise_fault(address):
    """Raise what the checks wrote at `address`, if anything."""
    f = fetch(Fault, address)
    if f.fault != NO_FAULT:
        error = f.fault & ERROR_MASK
        if error == DTYPE_ERROR:
            raise DtypeError(f.fault, f.name, f.place, f.got, f.other, f.expected)
        if error == IN_USE_ERROR:
            raise InUse(f.fault, f.name, f.place, f.got, f.other, f.expected)
        raise ShapeError(f.fault, f.name, f.place, f.got, f.other, f.expected)
