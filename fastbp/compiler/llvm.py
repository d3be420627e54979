"""Small typed intrinsics: addresses, loads and stores, blocks of arguments, calls by address, prefetch.

An address is an int64, in bytes. A block of arguments is a NamedTuple whose fields are annotated `int` (int64) or
`float` (float64), laid out eight bytes a field.
"""

import functools
import platform
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from fastbp.compiler.numba_internals import value_of_struct

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
FIELD_TYPES = {int: types.int64, float: types.float64, "int": types.int64, "float": types.float64}


@functools.cache
def field_types(record: type) -> dict[str, types.Type]:
    """Return the numba type of each field of a record, a NamedTuple whose annotations are `int` or `float`."""
    return {name: FIELD_TYPES[kind] for name, kind in record.__annotations__.items()}


@functools.cache
def places(record: type) -> dict[str, int]:
    """Where each field of a record lies in its block, in bytes from the beginning."""
    return {name: 8 * i for i, name in enumerate(record.__annotations__)}


def value_in(block: np.ndarray, record: type, name: str) -> Any:
    """Return the value of a field in a block of class `record`, for Python, which has it as an array of int64."""
    cells = block.view(np.float64) if field_types(record)[name] == types.float64 else block
    return cells[places(record)[name] // 8].item()


ONE_FMA = """
declare float @llvm.fma.f32(float, float, float)
define float @f(float %x) {
    %y = call float @llvm.fma.f32(float %x, float %x, float %x)
    ret float %y
}
"""


def target_cpu() -> str:
    """LLVM's name of the CPU that numba compiles for."""
    return cpu_target.target_context.codegen().magic_tuple()[1]


def target_features() -> frozenset[str]:
    """Return the features of the CPU that numba compiles for, which NUMBA_CPU_NAME and NUMBA_CPU_FEATURES can change."""
    listed = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    return frozenset(f[1:] for f in listed if f.startswith("+"))


@functools.cache
def has_fma() -> bool:
    """Return whether the target multiplies and adds in one instruction; elsewhere llvm.fma is a library call per lane.

    LLVM knows: a CPU may have it by another name than "fma", or by its own name alone.
    """
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    target = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    return "fmaf" not in target.emit_assembly(llvm.parse_assembly(ONE_FMA))


def pointer(builder, address, element):
    """Return an int64 address as an LLVM pointer to `element`."""
    return builder.inttoptr(address, element.as_pointer())


def uninitialised(builder, kind):
    """Return room on the stack, made once a call of the function; numba's alloca_once fills it with zeros, element by
    element."""
    with builder.goto_entry_block():
        return builder.alloca(kind)


@intrinsic
def address_of(typingctx, array):
    """Return the address of an array's first element. Mention the array after the last use: the address keeps nothing
    alive."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(context.make_array(signature.args[0])(context, builder, args[0]).data, I64)

    return types.int64(array), codegen


@intrinsic
def read(typingctx, address, kind):
    """Return the value of numba type `kind` (types.int64, types.float32, ...) at `address`."""
    result = kind.dtype

    def codegen(context, builder, signature, args):
        return builder.load(pointer(builder, args[0], context.get_value_type(result)), align=1)

    return result(types.int64, kind), codegen


@intrinsic
def write(typingctx, address, value):
    """Store `value` at `address`."""

    def codegen(context, builder, signature, args):
        builder.store(args[1], pointer(builder, args[0], args[1].type), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, value), codegen


@intrinsic
def atomic_read(typingctx, address):
    """Return the int64 at `address`, which other threads write; what they wrote before it is seen from here on."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(pointer(builder, args[0], I64), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def atomic_write(typingctx, address, value):
    """Store an int64 that other threads read; they see with it all that was written before."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[1], pointer(builder, args[0], I64), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def exchange_if(typingctx, address, expected, value):
    """Store the int64 `value` at `address` if `expected` is there, in one step; whether it was."""

    def codegen(context, builder, signature, args):
        place = pointer(builder, args[0], I64)
        return builder.extract_value(builder.cmpxchg(place, args[1], args[2], "acq_rel", "acquire"), 1)

    return types.boolean(types.int64, types.int64, types.int64), codegen


@intrinsic
def pause(typingctx):
    """Tell the core that this thread is waiting in a loop."""

    def codegen(context, builder, signature, args):
        arm = platform.machine().lower() in ("arm64", "aarch64")
        name, arguments = ("llvm.aarch64.hint", [I32(1)]) if arm else ("llvm.x86.sse2.pause", [])
        kind = ir.FunctionType(ir.VoidType(), [x.type for x in arguments])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def ticks(typingctx):
    """Return the processor's clock, in ticks of its own."""

    def codegen(context, builder, signature, args):
        arm = platform.machine().lower() in ("arm64", "aarch64")  # there programs may not read the cycle counter
        name = "llvm.readsteadycounter" if arm else "llvm.readcyclecounter"
        return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(I64, []), name), [])

    return types.int64(), codegen


@intrinsic
def array_at(typingctx, address, shape, row_stride, kind):
    """Return a view of memory at `address` as an array of numba type `kind` with `shape`, a tuple of one or two lengths,
    elements contiguous in a row and rows `row_stride` bytes apart; it does not keep the memory alive."""
    result = types.Array(kind.dtype, len(shape), "A" if len(shape) == 2 else "C")

    def codegen(context, builder, signature, args):
        array = context.make_array(result)(context, builder)
        size = I64(context.get_abi_sizeof(context.get_data_type(result.dtype)))
        strides = [args[2], size][-result.ndim :]
        place = pointer(builder, args[0], context.get_data_type(result.dtype))
        populate_array(array, place, args[1], cgutils.pack_array(builder, strides), size, meminfo=None)
        return value_of_struct(array)

    return result(types.int64, types.UniTuple(types.int64, len(shape)), types.int64, kind), codegen


@intrinsic
def fetch(typingctx, block, address):
    """Return the block of arguments of class `block` that lies at `address`."""
    cls = block.instance_class
    fields = list(field_types(cls).values())
    uniform = len(set(fields)) == 1  # numba types such a NamedTuple in another way
    result = types.NamedUniTuple(fields[0], len(fields), cls) if uniform else types.NamedTuple(fields, cls)

    def codegen(context, builder, signature, args):
        base = pointer(builder, args[1], I64)
        cells = [builder.gep(base, [I64(i)]) for i in range(len(fields))]
        kinds = [context.get_value_type(field) for field in fields]
        values = [builder.load(builder.bitcast(c, k.as_pointer())) for c, k in zip(cells, kinds, strict=True)]
        return context.make_tuple(builder, result, values)

    return result(block, types.int64), codegen


def field_named(record, name):
    """Where the field of a literal name lies in a record, in bytes, and its numba type; None for a name that is not literal."""
    if isinstance(name, types.StringLiteral):
        cls = record.instance_class
        return places(cls)[name.literal_value], field_types(cls)[name.literal_value]


@intrinsic(prefer_literal=True)
def place_of(typingctx, address, record, name):
    """Return the address of a field, in the block of class `record` at `address`; `name` is a literal."""
    if not (found := field_named(record, name)):
        return None

    def codegen(context, builder, signature, args):
        return builder.add(args[0], I64(found[0]))

    return types.int64(types.int64, record, name), codegen


@intrinsic(prefer_literal=True)
def get(typingctx, address, record, name):
    """Return the value of a field, in the block of class `record` at `address`; `name` is a literal."""
    if not (found := field_named(record, name)):
        return None
    place, field = found

    def codegen(context, builder, signature, args):
        return builder.load(pointer(builder, builder.add(args[0], I64(place)), context.get_value_type(field)))

    return field(types.int64, record, name), codegen


@intrinsic(prefer_literal=True)
def put(typingctx, address, record, name, value):
    """Write `value` into a field, in the block of class `record` at `address`; `name` is a literal."""
    if not (found := field_named(record, name)):
        return None
    place, field = found

    def codegen(context, builder, signature, args):
        builder.store(args[3], pointer(builder, builder.add(args[0], I64(place)), args[3].type))
        return context.get_dummy_value()

    return types.void(types.int64, record, name, field), codegen


@intrinsic
def on_stack(typingctx, block):
    """Return the address of a copy of a block of arguments; it lives as long as the calling function runs."""
    fields = list(field_types(block.instance_class).values())

    def codegen(context, builder, signature, args):
        room = uninitialised(builder, ir.ArrayType(I64, len(fields)))
        values = cgutils.unpack_tuple(builder, args[0], len(fields))
        for i, (value, given, field) in enumerate(zip(values, block.types, fields, strict=True)):
            cell = builder.gep(room, [I64(0), I64(i)])
            cast = context.cast(builder, value, given, field)
            builder.store(cast, builder.bitcast(cell, cast.type.as_pointer()))
        return builder.ptrtoint(room, I64)

    return types.int64(block), codegen


@intrinsic(prefer_literal=True)
def stack_room(typingctx, size):
    """Return the address of `size` (a constant) bytes on the stack, at a cache line; they live while the calling function
    runs."""
    if not isinstance(size, types.IntegerLiteral):
        return None

    def codegen(context, builder, signature, args):
        room = uninitialised(builder, ir.ArrayType(I8, size.literal_value))
        room.align = 64
        return builder.ptrtoint(room, I64)

    return types.int64(size), codegen


@intrinsic
def call(typingctx, address, arguments):
    """Call the code at `address` with a tuple of int64, by the C calling convention; returns its int64."""
    wanted = types.UniTuple(types.int64, len(arguments))

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1], len(arguments))
        kind = ir.FunctionType(I64, [I64] * len(values))
        return builder.call(pointer(builder, args[0], kind), values)

    return types.int64(types.int64, wanted), codegen


@intrinsic
def prefetch(typingctx, address):
    """Fetch the cache line at `address` into L2, for reading."""

    def codegen(context, builder, signature, args):
        emit_prefetch(builder, pointer(builder, args[0], I8))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def emit_prefetch(builder, place, locality=2):
    """Emit LLVM's prefetch for reading, into L1 (locality 3) or L2 (2)."""
    kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(place, I8.as_pointer()), I32(0), I32(locality), I32(1)])


@intrinsic
def fetch_add(typingctx, address, value):
    """Add `value` to the int64 at `address`, in one piece for all threads; returns what was there."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", pointer(builder, args[0], I64), args[1], "acq_rel")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def high_product(typingctx, a, b):
    """Return the upper 64 bits of the product of two uint64."""

    def codegen(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(x, wide) for x in args))
        return builder.trunc(builder.lshr(product, wide(64)), I64)

    return types.uint64(types.uint64, types.uint64), codegen
