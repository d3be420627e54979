"""SIMD values for nopython code: `Vector`, 64 bytes whatever the instruction set, and what can be done with it.

A vector of float32 has 16 lanes, one of float64 8; LLVM splits it where registers are narrower. Comparisons give masks
(vectors of booleans); `bits` gives the unsigned integers with the same bits. The operators are those of Python, one
operand may be a scalar or a `PerDtype`:

    + - * /  and unary -       on floats
    + - * & | ^ ~ << >>        on integers, modulo their width; >> shifts in zeros on unsigned ones
    < <= > >= == !=            on floats, where a NaN is unequal to everything, and on integers
    & | ^ ~                    on masks

Nothing is contracted or reassociated, so that bits depend on the formula alone. Vectors live inside compiled functions:
they do not cross into Python.
"""

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model, typeof_impl

from fastbp.compiler.llvm import I32, I64, has_fma, pointer

BYTES = 64


class Vector(types.Type):
    """The numba type of `lanes` values of the numba type `dtype`."""

    def __init__(self, dtype, lanes):
        self.dtype, self.lanes = dtype, lanes
        self.is_float = isinstance(dtype, types.Float)
        self.is_integer = isinstance(dtype, types.Integer)
        self.is_mask = dtype == types.boolean
        super().__init__(name=f"Vector({dtype}, {lanes})")

    def of(self, dtype) -> "Vector":
        """Return as many lanes of another type."""
        return Vector(dtype, self.lanes)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, vector):
        super().__init__(dmm, vector, llvm_type(vector))


def llvm_type(vector) -> ir.VectorType:
    """LLVM's type for a vector; a mask has one bit per lane."""
    bits = getattr(vector.dtype, "bitwidth", 1)
    element = {32: ir.FloatType(), 64: ir.DoubleType()}[bits] if vector.is_float else ir.IntType(bits)
    return ir.VectorType(element, vector.lanes)


def vector_of(dtype) -> Vector:
    """Return the 64-byte vector of a numba number type, or of its class (`types.float32`); or a vector itself."""
    if isinstance(dtype, Vector):
        return dtype
    dtype = getattr(dtype, "dtype", dtype)
    return Vector(dtype, BYTES * 8 // dtype.bitwidth)


# ----------------------------------------------------------------------------------------------- constants and scalars


@dataclass(frozen=True)
class PerDtype:
    """A constant for each dtype: `x * LN2` takes the one for the elements of x.

    Nopython code takes it as a compile-time constant, rounded once to the dtype, in all lanes.
    """

    float32: Any
    float64: Any

    def of(self, dtype) -> Any:
        return self.float32 if dtype.bitwidth == 32 else self.float64


class PerDtypeType(types.Opaque):
    """The numba type of one `PerDtype`. It holds the value, so that there is nothing to hold at run time."""

    def __init__(self, value):
        self.value = value
        super().__init__(name=str(value))


@typeof_impl.register(PerDtype)
def typeof_per_dtype(value, context):
    return PerDtypeType(value)


@register_model(PerDtypeType)
class PerDtypeModel(models.OpaqueModel):
    pass


def full(vector, value) -> ir.Constant:
    """Return a constant with `value`, rounded to the type of the elements, in all lanes."""
    kind = llvm_type(vector)
    value = float(np.dtype(vector.dtype.name).type(value)) if vector.is_float else int(value)
    return ir.Constant(kind, [ir.Constant(kind.element, value)] * vector.lanes)


@lower_cast(PerDtypeType, Vector)
def constant_to_vector(context, builder, constant, vector, value):
    return full(vector, constant.value.of(vector.dtype))


@lower_cast(types.Number, Vector)
def scalar_to_vector(context, builder, number, vector, value):
    return broadcast(builder, context.cast(builder, value, number, vector.dtype), vector)


def broadcast(builder, scalar, vector):
    """Return `scalar` in all lanes."""
    kind = llvm_type(vector)
    nothing = ir.Constant(kind, ir.Undefined)
    lanes = ir.Constant(ir.VectorType(I32, vector.lanes), [0] * vector.lanes)
    return builder.shuffle_vector(builder.insert_element(nothing, scalar, I32(0)), nothing, lanes)


# ----------------------------------------------------------------------------------------------------------- operators

FLOATS, INTEGERS, MASKS = "is_float", "is_integer", "is_mask"

# what a Python operator is among LLVM's instructions, for each kind of vector; the two-fold names are unsigned, signed
OPERATORS = {
    (operator.add, operator.iadd): {FLOATS: "fadd", INTEGERS: "add"},
    (operator.sub, operator.isub): {FLOATS: "fsub", INTEGERS: "sub"},
    (operator.mul, operator.imul): {FLOATS: "fmul", INTEGERS: "mul"},
    (operator.truediv, operator.itruediv): {FLOATS: "fdiv"},
    (operator.and_, operator.iand): {INTEGERS: "and_", MASKS: "and_"},
    (operator.or_, operator.ior): {INTEGERS: "or_", MASKS: "or_"},
    (operator.xor, operator.ixor): {INTEGERS: "xor", MASKS: "xor"},
    (operator.lshift, operator.ilshift): {INTEGERS: "shl"},
    (operator.rshift, operator.irshift): {INTEGERS: ("lshr", "ashr")},
    (operator.neg,): {FLOATS: "fneg", INTEGERS: "neg"},
    (operator.invert,): {INTEGERS: "not_", MASKS: "not_"},
}
COMPARISONS = {
    operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.eq: "==", operator.ne: "!=",
}  # fmt: skip


def common(operands) -> Vector | None:
    """Return the vector that the operands, some of which may be scalars, are or become, or None."""
    vectors = {x for x in operands if isinstance(x, Vector)}
    if len(vectors) != 1:
        return None
    (vector,) = vectors
    scalars = PerDtypeType, types.Number if vector.is_float else types.Integer
    fits = all(isinstance(x, Vector) or (isinstance(x, scalars) and not vector.is_mask) for x in operands)
    return vector if fits else None


def define(operation, arity, result, emit):
    """Let `operation` take vectors: `result(vector)` is its type or None, `emit(builder, vector, *values)` its code."""

    @infer_global(operation)
    class Operation(AbstractTemplate):
        def generic(self, args, kws):
            vector = common(args) if len(args) == arity else None
            kind = vector and result(vector)
            return signature(kind, *[vector] * arity) if kind else None

    @lower_builtin(operation, *[Vector] * arity)
    def lower(context, builder, sig, args):
        return emit(builder, sig.args[0], *args)


def define_operator(operations, instructions):
    def instruction(vector):
        return next((name for kind, name in instructions.items() if getattr(vector, kind)), None)

    def emit(builder, vector, *values):
        name = instruction(vector)
        return getattr(builder, name if isinstance(name, str) else name[vector.dtype.signed])(*values)

    for operation in operations:
        arity = 1 if operation in (operator.neg, operator.invert) else 2
        define(operation, arity, lambda vector: vector if instruction(vector) else None, emit)


def define_comparison(operation, symbol):
    def emit(builder, vector, x, y):
        if vector.is_float:
            return (builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered)(symbol, x, y)
        return (builder.icmp_signed if vector.dtype.signed else builder.icmp_unsigned)(symbol, x, y)

    define(operation, 2, lambda vector: None if vector.is_mask else vector.of(types.boolean), emit)


for operations, instructions in OPERATORS.items():
    define_operator(operations, instructions)
for operation, symbol in COMPARISONS.items():
    define_comparison(operation, symbol)


# ----------------------------------------------------------------------------------------------------------- functions


def llvm_call(builder, name, vector, *values, returns=None):
    """Call LLVM's intrinsic `name` for a kind of vector."""
    suffix = f"v{vector.lanes}{'f' if vector.is_float else 'i'}{vector.dtype.bitwidth}"
    suffix += ".p0" if name.startswith("masked") else ""  # where there is a pointer, its address space is in the name
    kind = ir.FunctionType(returns or llvm_type(vector), [x.type for x in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{suffix}"), values)


def emit_fma(builder, vector, x, y, z):
    """Emit x * y + z, rounded once; twice where the target has no such instruction."""
    if has_fma():
        return llvm_call(builder, "fma", vector, x, y, z)
    return builder.fadd(builder.fmul(x, y), z)


def _float_function(name):
    """Return the code of a function that LLVM has as an intrinsic on vectors of floats."""

    def codegen(context, builder, sig, args):
        return llvm_call(builder, name, sig.return_type, *args)

    return codegen


def _same(*operands):
    """Return the signature of a function from vectors of floats to one; scalars become vectors."""
    vector = common(operands)
    return signature(vector, *[vector] * len(operands)) if vector and vector.is_float else None


@intrinsic
def fma(typingctx, x, y, z):
    """Return x * y + z, rounded once; twice where the target has no such instruction (numba's `generic` x86)."""
    return _same(x, y, z), lambda context, builder, sig, args: emit_fma(builder, sig.return_type, *args)


@intrinsic
def polynomial(typingctx, x, coefficients):
    """Return the sum of coefficients[i] * x**i by Horner's rule; `coefficients` is a `PerDtype` of tuples."""

    def codegen(context, builder, sig, args):
        *lower, total = [full(x, c) for c in coefficients.value.of(x.dtype)]
        for c in reversed(lower):
            total = emit_fma(builder, x, total, args[0], c)
        return total

    return signature(x, x, coefficients), codegen


@intrinsic
def sqrt(typingctx, x):
    """Return the square root, correctly rounded."""
    return _same(x), _float_function("sqrt")


@intrinsic
def absolute(typingctx, x):
    """Return |x|, by clearing the sign bit."""
    return _same(x), _float_function("fabs")


@intrinsic
def copysign(typingctx, x, sign):
    """Return |x| with the sign bit of `sign`."""
    return _same(x, sign), _float_function("copysign")


def _extremum(symbol):
    return lambda context, builder, sig, args: emit_extremum(builder, symbol, *args)


def emit_extremum(builder, symbol, x, y):
    """Emit one instruction on x86, with its rule for NaN."""
    return builder.select(builder.fcmp_ordered(symbol, x, y), x, y)


@intrinsic
def minimum(typingctx, x, y):
    """Return x if x < y else y: where either is NaN, y. So `minimum(bound, y)` keeps the NaNs of y."""
    return _same(x, y), _extremum("<")


@intrinsic
def maximum(typingctx, x, y):
    """Return x if x > y else y: where either is NaN, y. So `maximum(bound, y)` keeps the NaNs of y."""
    return _same(x, y), _extremum(">")


@intrinsic
def select(typingctx, mask, x, y):
    """Return x where the mask is set, y elsewhere. x or y may be a scalar."""
    vector = common((x, y))
    if not vector or mask != vector.of(types.boolean):
        return None
    return signature(vector, mask, vector, vector), lambda context, builder, sig, args: builder.select(*args)


def _reinterpret(context, builder, sig, args):
    return builder.bitcast(args[0], llvm_type(sig.return_type))


@intrinsic
def bits(typingctx, x):
    """Return the bit patterns of floats: a vector of uint32 or uint64."""
    return signature(x.of(getattr(types, f"uint{x.dtype.bitwidth}")), x), _reinterpret


@intrinsic
def from_bits(typingctx, patterns):
    """Return the floats that have these bit patterns."""
    return signature(patterns.of(getattr(types, f"float{patterns.dtype.bitwidth}")), patterns), _reinterpret


@intrinsic
def splat(typingctx, kind, value):
    """Return `value` in all lanes of the vector of dtype `kind`, or of a vector like `kind`."""
    vector = vector_of(kind)
    return signature(vector, kind, vector), lambda context, builder, sig, args: args[1]


# -------------------------------------------------------------------------------------------------------------- memory


@intrinsic
def first(typingctx, n, kind):
    """Return the mask of the lanes below n, for the vector of dtype `kind`, or for one like `kind`."""
    mask = vector_of(kind).of(types.boolean)
    return signature(mask, types.int64, kind), lambda context, builder, sig, args: before(builder, args[0], mask.lanes)


def before(builder, n, lanes):
    """Return the mask of the lanes below n."""
    counted = Vector(types.int32, lanes)
    n = builder.select(builder.icmp_signed("<", n, I64(lanes)), n, I64(lanes))
    indices = ir.Constant(llvm_type(counted), list(range(lanes)))
    return builder.icmp_signed("<", indices, broadcast(builder, builder.trunc(n, I32), counted))


@intrinsic
def load(typingctx, address, n, dtype):
    """Return the first n elements of `dtype` at an address, zero in the other lanes; memory beyond them is not touched."""
    vector = vector_of(dtype)
    kind = llvm_type(vector)

    def codegen(context, builder, sig, args):
        place = pointer(builder, args[0], kind)
        with builder.if_else(builder.icmp_signed(">=", args[1], I64(vector.lanes)), likely=True) as (all_, some):
            with all_:
                whole, whole_block = builder.load(place, align=1), builder.block
            with some:
                mask, zero = before(builder, args[1], vector.lanes), full(vector, 0)
                part = llvm_call(builder, "masked.load", vector, place, I32(1), mask, zero)
                part_block = builder.block
        result = builder.phi(kind)
        result.add_incoming(whole, whole_block)
        result.add_incoming(part, part_block)
        return result

    return signature(vector, types.int64, types.int64, dtype), codegen


@intrinsic
def load_converted(typingctx, address, source, dtype):
    """Return a whole vector of numbers of numba type `source` at an address, as numbers of `dtype`, each rounded once."""
    vector, kind = vector_of(dtype), source.dtype

    def codegen(context, builder, sig, args):
        given = ir.VectorType(context.get_value_type(kind), vector.lanes)
        values, wanted = builder.load(pointer(builder, args[0], given), align=1), llvm_type(vector)
        if isinstance(kind, types.Integer):
            return (builder.sitofp if kind.signed else builder.uitofp)(values, wanted)
        return (builder.fptrunc if kind.bitwidth > vector.dtype.bitwidth else builder.fpext)(values, wanted)

    return signature(vector, types.int64, source, dtype), codegen


@intrinsic
def store(typingctx, address, x, n):
    """Store the first n lanes of x at an address; memory beyond them is not touched."""

    def codegen(context, builder, sig, args):
        place = pointer(builder, args[0], args[1].type)
        with builder.if_else(builder.icmp_signed(">=", args[2], I64(x.lanes)), likely=True) as (all_, some):
            with all_:
                builder.store(args[1], place, align=1)
            with some:
                mask = before(builder, args[2], x.lanes)
                llvm_call(builder, "masked.store", x, args[1], place, I32(1), mask, returns=ir.VoidType())
        return context.get_dummy_value()

    return signature(types.void, types.int64, x, types.int64), codegen


# ---------------------------------------------------------------------------------------------------------- reductions


def _reduction(combine):
    """Combine the upper half of the lanes with the lower half until one is left."""

    def codegen(context, builder, sig, args):
        (value,), lanes = args, sig.args[0].lanes
        while lanes > 1:
            lanes //= 2
            halves = (ir.Constant(ir.VectorType(I32, lanes), list(range(i, i + lanes))) for i in (0, lanes))
            value = combine(builder, *(builder.shuffle_vector(value, value, half) for half in halves))
        return builder.extract_element(value, I32(0))

    return codegen


@intrinsic
def reduce_add(typingctx, x):
    """Return the sum of the lanes as a tree: lane i + lane i + lanes/2 first, so on in the half that is left."""
    return signature(x.dtype, x), _reduction(lambda builder, lower, upper: builder.fadd(lower, upper))


@intrinsic
def reduce_max(typingctx, x):
    """Return the largest lane; NaNs may be lost."""
    return signature(x.dtype, x), _reduction(lambda builder, lower, upper: emit_extremum(builder, ">", lower, upper))
