"""Emits the register tile: rows x vectors of C accumulated over k, for the instruction set at hand.

    C[i, j] = (C[i, j] if accumulate else 0) + sum over k of A[i, k] * B[k, j]        i < m <= MR, j < n <= NR

The sum is one chain of fused multiply-adds in ascending k, begun from C or from zero: its bits depend neither on the
tile's shape nor on KC. `tile(real)` makes the intrinsic of that contract:

    tile(a, ars, acs, b, brs, panel, kc, c, crs, m, n, accumulate, next, next_stride)

- addresses and strides are int64, in bytes; A has any two strides, rows of B and C are contiguous;
- n > NR counts as NR; columns from n on are neither read nor written; C is not read unless `accumulate`;
- where the instruction set lacks masked loads, B is read up to the next whole vector, unless `panel`;
- panel: 0, or the address of a panel, n rounded up to whole vectors wide, which the tile fills with the B that it reads,
  zero from column n on (only for m above the second largest row count);
- next, next_stride: a block of that shape that is going to be touched next, C itself or what C will update: it is fetched
  meanwhile.
"""

from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastbp.compiler.llvm import I8, I32, I64, emit_prefetch
from fastbp.gemm.isa import blocks_for, target_isa

ARGUMENTS = "a ars acs b brs panel kc c crs m n accumulate next next_stride"


class Vectors:
    """The vector instructions of a tile, for one dtype and number of lanes."""

    def __init__(self, builder, real, lanes, fma):
        self.builder, self.lanes, self.size, self.has_fma = builder, lanes, real.bitwidth // 8, fma
        self.element = ir.FloatType() if real == types.float32 else ir.DoubleType()
        self.type = ir.VectorType(self.element, lanes)
        self.zero = ir.Constant(self.type, [0.0] * lanes)
        self.suffix = f"v{lanes}f{real.bitwidth}"

    def llvm(self, name, result, *arguments):
        kind = ir.FunctionType(result, [x.type for x in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}")
        return self.builder.call(function, arguments)

    def fma(self, x, y, z):
        if self.has_fma:
            return self.llvm(f"fma.{self.suffix}", self.type, x, y, z)
        return self.builder.fadd(self.builder.fmul(x, y), z)

    def load(self, place, mask=None):
        place = self.builder.bitcast(place, self.type.as_pointer())
        if mask is None:
            return self.builder.load(place, align=1)
        return self.llvm(f"masked.load.{self.suffix}.p0", self.type, place, I32(1), mask, self.zero)

    def store(self, value, place, mask=None):
        place = self.builder.bitcast(place, self.type.as_pointer())
        if mask is None:
            return self.builder.store(value, place, align=1)
        return self.llvm(f"masked.store.{self.suffix}.p0", ir.VoidType(), value, place, I32(1), mask)

    def splat(self, x, element=None):
        undefined = ir.Constant(ir.VectorType(element or self.element, self.lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, x, I32(0))
        return self.builder.shuffle_vector(
            first, undefined, ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        )

    def broadcast(self, place):
        """Return the element at `place` in every lane."""
        return self.splat(self.builder.load(self.builder.bitcast(place, self.element.as_pointer()), align=1))

    def before(self, n, vector):
        """Return the mask of the lanes of vector number `vector` that lie before column n."""
        columns = ir.Constant(ir.VectorType(I32, self.lanes), [vector * self.lanes + i for i in range(self.lanes)])
        return self.builder.icmp_signed(">", self.splat(self.builder.trunc(n, I32), I32), columns)


class Tile:
    """Emits one tile of fixed shape into a function of its own; the contract is at the top of the file."""

    def __init__(self, function, real, isa, shape):
        self.bd = ir.IRBuilder(function.append_basic_block("entry"))
        self.v = Vectors(self.bd, real, isa.vector_bytes // (real.bitwidth // 8), isa.fma)
        self.rows, self.vectors, self.fills_panel = shape.rows, shape.vectors, shape.fills_panel
        for name, argument in zip(ARGUMENTS.split(), function.args, strict=True):
            setattr(self, name, argument)
        self.cells = [(i, j) for i in range(self.rows) for j in range(self.vectors)]
        self.masks = [self.v.before(self.n, j) if shape.masked else None for j in range(self.vectors)]
        reads_whole = not (isa.masked_loads or shape.fills_panel)
        self.b_masks = [None] * self.vectors if reads_whole else self.masks

    def emit(self):
        bd, v = self.bd, self.v
        row_numbers = self.clamped_rows()
        self.a_rows = [self.at(self.a, bd.mul(self.ars, row)) for row in row_numbers]
        c_rows = [self.at(self.c, bd.mul(self.crs, row)) for row in row_numbers]
        self.c_places = {(i, j): bd.gep(c_rows[i], [I64(j * v.lanes * v.size)]) for i, j in self.cells}
        next_rows = [self.at(self.next, bd.mul(self.next_stride, row)) for row in row_numbers]
        for i, j in self.cells:
            emit_prefetch(bd, self.vector_of(next_rows[i], j))
        sums = self.k_loop(self.starting_sums())
        for cell in self.cells:
            v.store(sums[cell], self.c_places[cell], self.masks[cell[1]])
        bd.ret_void()

    def at(self, address, offset):
        return self.bd.gep(self.bd.inttoptr(address, I8.as_pointer()), [offset])

    def clamped_rows(self):
        """Row i >= m repeats row m-1: it computes and writes the same values to the same place, without a branch."""
        last = self.bd.sub(self.m, I64(1))
        return [self.bd.select(self.bd.icmp_signed("<", I64(i), self.m), I64(i), last) for i in range(self.rows)]

    def merge(self, *sources):
        """Return a phi a cell, from pairs of a block and its values."""
        merged = {}
        for cell in self.cells:
            merged[cell] = self.bd.phi(self.v.type)
            for block, values in sources:
                merged[cell].add_incoming(values[cell], block)
        return merged

    def starting_sums(self):
        bd = self.bd
        entry, add, start = bd.block, bd.append_basic_block("accumulate"), bd.append_basic_block("start")
        bd.cbranch(bd.icmp_signed("!=", self.accumulate, I64(0)), add, start)
        bd.position_at_end(add)
        old = {cell: self.v.load(self.c_places[cell], self.masks[cell[1]]) for cell in self.cells}
        bd.branch(start)
        bd.position_at_end(start)
        return self.merge((entry, dict.fromkeys(self.cells, self.v.zero)), (add, old))

    def k_loop(self, start):
        bd = self.bd
        entry, loop, done = bd.block, bd.append_basic_block("k"), bd.append_basic_block("done")
        bd.cbranch(bd.icmp_signed(">", self.kc, I64(0)), loop, done)
        bd.position_at_end(loop)
        k = bd.phi(I64)
        k.add_incoming(I64(0), entry)
        sums = self.merge((entry, start))
        following = self.k_step(k, sums)
        k_next = bd.add(k, I64(1))
        k.add_incoming(k_next, loop)
        for cell in self.cells:
            sums[cell].add_incoming(following[cell], loop)
        bd.cbranch(bd.icmp_signed("<", k_next, self.kc), loop, done)
        bd.position_at_end(done)
        return self.merge((entry, start), (loop, following))

    def k_step(self, k, sums):
        bd, v = self.bd, self.v
        b_row = self.at(self.b, bd.mul(k, self.brs))
        b = [v.load(self.vector_of(b_row, j), self.b_masks[j]) for j in range(self.vectors)]
        if self.fills_panel:
            self.fill_panel(k, b_row, b)
        offset = bd.mul(k, self.acs)
        a = [v.broadcast(bd.gep(row, [offset])) for row in self.a_rows]
        return {(i, j): v.fma(a[i], b[j], sums[i, j]) for i, j in self.cells}

    def fill_panel(self, k, b_row, b):
        """Let the first tile of a panel fill it: it streams B from the user's rows and leaves it packed for the tiles below."""
        bd, v = self.bd, self.v
        ahead = bd.gep(b_row, [bd.mul(self.brs, I64(8))])
        panel_row = self.at(self.panel, bd.mul(k, I64(self.vectors * v.lanes * v.size)))
        for j in range(self.vectors):
            emit_prefetch(bd, self.vector_of(ahead, j), locality=3)
            v.store(b[j], self.vector_of(panel_row, j))

    def vector_of(self, row, j):
        return self.bd.gep(row, [I64(j * self.v.lanes * self.v.size)])


def tile_function(module, real, isa, shape):
    """Return the tile of that shape in `module`, emitted when it is not there yet."""
    name = f"fastbp.tile.{real}.{'.'.join(str(int(x)) for x in shape)}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * len(ARGUMENTS.split())), name)
    function.linkage = "internal"
    function.attributes.add("noinline")  # a shape in a function of its own: registers are allotted shape by shape
    function.attributes.add("nounwind")
    Tile(function, real, isa, shape).emit()
    return function


class Shape(NamedTuple):
    """A tile's shape, and the sizes from which on it is used."""

    rows: int
    vectors: int
    masked: bool
    fills_panel: bool
    above_m: int
    above_n: int


def shapes(isa, lanes):
    """Return every tile of an instruction set, so ordered that the first whose `above_m` and `above_n` hold is the one."""
    for fills_panel in (True, False):
        for vectors in range(isa.vectors, 0, -1):
            for rows, above_m in zip(isa.row_counts[::-1], (*isa.row_counts[-2::-1], 0), strict=True):
                if fills_panel and rows < isa.row_counts[-1]:
                    continue
                if not isa.free_masks:
                    yield Shape(rows, vectors, False, fills_panel, above_m, vectors * lanes - 1)
                yield Shape(rows, vectors, True, fills_panel, above_m, (vectors - 1) * lanes)


def tile(real):
    """Return the intrinsic that runs the smallest tile of fitting shape; the contract is at the top of the file."""
    isa, lanes = target_isa(), blocks_for(real).lanes

    def fits(bd, shape, m, n, panel):
        fitting = bd.and_(bd.icmp_signed(">", n, I64(shape.above_n)), bd.icmp_signed(">", m, I64(shape.above_m)))
        return bd.and_(fitting, bd.icmp_unsigned("!=", panel, I64(0))) if shape.fills_panel else fitting

    @intrinsic
    def run(typingctx, a, ars, acs, b, brs, panel, kc, c, crs, m, n, accumulate, next, next_stride):
        def codegen(context, bd, signature, args):
            panel, m, n = args[5], args[9], args[10]
            end = bd.append_basic_block("tile.end")
            for shape in shapes(isa, lanes):
                chosen, other = bd.append_basic_block("tile"), bd.append_basic_block("tile.other")
                bd.cbranch(fits(bd, shape, m, n, panel), chosen, other)
                bd.position_at_end(chosen)
                bd.call(tile_function(bd.module, real, isa, shape), args)
                bd.branch(end)
                bd.position_at_end(other)
            bd.branch(end)
            bd.position_at_end(end)
            return context.get_dummy_value()

        return types.void(*[types.int64] * len(ARGUMENTS.split())), codegen

    return run
