"""What the machine can do at most, measured in this process: fused multiply-adds on registers alone, and reading memory."""

import functools
import time
from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from fastbp.compiler.code import call_code, code, code_per_dtype
from fastbp.compiler.jit import numba
from fastbp.compiler.live import most_threads
from fastbp.compiler.llvm import I8, I64, call, fetch, get, put, ticks
from fastbp.gemm.isa import blocks_for, target_isa
from fastbp.gemm.micro import Vectors
from fastbp.parallel.parts import CACHE_LINE
from fastbp.parallel.region import region, run, threads_now
from fastbp.parallel.team import open_team, team_bytes

READ_BYTES = 2**27  # more than the caches hold
TURNS = 200_000  # of a loop of as many multiply-adds as a tile has accumulators: half a millisecond, as a rule
BURSTS, RUNS = 12, 16  # at most; the fastest run counts
REST = 0.05  # seconds after a burst: threads that woke up on one core move apart


class Burst(NamedTuple):
    """`turns` of each part's loop in `body`; it reads `source`, if at all, and leaves its sums in its line of `sums`.

    ticks: the result, those of the fastest run.
    """

    body: int
    turns: int
    source: int
    sums: int
    ticks: int


TICKS = Burst._fields.index("ticks")


def accumulators() -> int:
    """Return the number of accumulators of the largest tile: more than multiply-adds are under way at once."""
    isa = target_isa()
    return isa.row_counts[-1] * isa.vectors


def chains(real, reads):
    """Return the intrinsic chains(source, turns, sums): a multiply-add for each accumulator at every turn, of what it
    `reads` from one end of `source` to the other, or of a register; the accumulators are added into the vector at `sums`."""
    isa, lanes = target_isa(), blocks_for(real).lanes

    def turn_of(v, row, accumulated, half):
        for i, total in enumerate(accumulated):
            x = v.load(v.builder.gep(row, [I64(i * isa.vector_bytes)])) if reads else total
            yield v.fma(x, half, total) if reads else v.fma(x, half, half)

    @intrinsic
    def chains(typingctx, source, turns, sums):
        def codegen(context, bd, signature, args):
            source, sums = (bd.inttoptr(address, I8.as_pointer()) for address in (args[0], args[2]))
            v = Vectors(bd, real, lanes, isa.fma)
            half = v.splat(v.element(0.5))
            starts = [bd.fadd(v.load(sums), v.splat(v.element(float(i)))) for i in range(accumulators())]
            entry, loop, done = bd.block, bd.append_basic_block("turn"), bd.append_basic_block("done")
            bd.branch(loop)
            bd.position_at_end(loop)
            turn, accumulated = bd.phi(I64), [bd.phi(v.type) for _ in starts]
            row = bd.gep(source, [bd.mul(turn, I64(len(starts) * isa.vector_bytes))])
            following = [bd.add(turn, I64(1)), *turn_of(v, row, accumulated, half)]
            for phi, first, value in zip((turn, *accumulated), (I64(0), *starts), following, strict=True):
                phi.add_incoming(first, entry)
                phi.add_incoming(value, loop)
            bd.cbranch(bd.icmp_signed("<", following[0], args[1]), loop, done)
            bd.position_at_end(done)
            v.store(functools.reduce(bd.fadd, following[1:]), sums)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return chains


@code_per_dtype
def multiply_adds(real):
    """multiply_adds(args, part, parts): the turns of the Burst at `args`, on registers."""
    run_chains = chains(real, reads=False)

    def multiply_adds(args, part, parts):
        b = fetch(Burst, args)
        run_chains(0, b.turns, b.sums + CACHE_LINE * part)
        return 0

    return multiply_adds


@code_per_dtype
def reads(real):
    """reads(args, part, parts): the turns of the Burst at `args`, over the part's own share of the source."""
    run_chains, turn_bytes = chains(real, reads=True), accumulators() * target_isa().vector_bytes

    def reads(args, part, parts):
        b = fetch(Burst, args)
        run_chains(b.source + part * b.turns * turn_bytes, b.turns, b.sums + CACHE_LINE * part)
        return 0

    return reads


@code
def timed_runs(args, region):
    """timed_runs(args, region): the Burst at `args` in all threads of `region`, again and again; notes the fastest run."""
    b = fetch(Burst, args)
    for _ in range(RUNS):
        began = ticks()
        run(region, b.body, args, threads_now(region))
        put(args, Burst, "ticks", min(get(args, Burst, "ticks"), ticks() - began))
    return 0


@code
def burst(args, team, region):
    """burst(args, team, region): timed_runs in a team, whose threads are awake as in training; returns how many there are."""
    threads = threads_now(region)
    if threads > 1:
        open_team(team, threads, timed_runs(), args, region)
    else:
        call(timed_runs(), (args, 0))
    return threads


class Bursts:
    """Bursts of `turns` of `body` in all threads that numba uses at the time."""

    def __init__(self, body: int, turns: int, source: np.ndarray | None = None):
        self.turns, self.source = turns, source
        self.room = np.zeros(team_bytes(most_threads()) + CACHE_LINE * (most_threads() + 1), np.uint8)
        sums = self.room.ctypes.data + -self.room.ctypes.data % CACHE_LINE
        address = 0 if source is None else source.ctypes.data
        self.block = np.array(Burst(body=body, turns=turns, source=address, sums=sums, ticks=0), np.int64)
        self.arguments = (self.block.ctypes.data, sums + CACHE_LINE * most_threads(), region.of().resolve())

    def turns_per_second(self) -> float:
        """Return the turns of all threads together in a second, by the fastest run of one burst."""
        self.block[TICKS] = 2**62
        threads = call_code(burst.of().resolve(), *self.arguments)
        return threads * self.turns / (seconds_per_tick() * int(self.block[TICKS]))


def best_of(body: int, turns: int, source: np.ndarray | None = None, enough: float = 0.0) -> float:
    """Return the turns of `body` in a second, of all threads that numba uses now; no further bursts once that is `enough`."""
    bursts, best = Bursts(body, turns, source), 0.0
    for _ in range(BURSTS):
        best = max(best, bursts.turns_per_second())
        if best >= enough:
            break
        time.sleep(REST)
    return best


@code
def ticks_now():
    """ticks_now(): the processor's clock."""
    return ticks()


@functools.cache
def seconds_per_tick() -> float:
    """Return the length of a tick of the processor's clock, by the system's over some hundredths of a second."""

    def together() -> tuple[float, int]:
        """Return both clocks at one moment, by the fastest of several readings."""
        readings = [(time.perf_counter(), call_code(now), time.perf_counter()) for _ in range(20)]
        before, tick, after = min(readings, key=lambda reading: reading[2] - reading[0])
        return (before + after) / 2, tick

    now = ticks_now.of().resolve()
    second, tick = together()
    time.sleep(0.03)
    later, later_tick = together()
    return (later - second) / (later_tick - tick)


def on_threads(measure, threads: int, *arguments) -> float:
    """Call `measure` with numba set to `threads` threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        return measure(*arguments)
    finally:
        numba.set_num_threads(before)


def checked_threads(threads: int | None) -> int:
    """`threads`, or for None as many as numba uses."""
    if threads is None:
        return numba.get_num_threads()
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or not 1 <= threads <= most_threads():
        raise ValueError(f"threads: got {threads!r}, expected a whole number from 1 to {most_threads()}")
    return int(threads)


def fma_peak(dtype="float32", threads: int | None = None) -> float:
    """Floating-point operations that `threads` threads (None: as many as numba uses) do in a second on registers alone, two for
    each fused multiply-add; float32 or float64. Measured at the first call of a process, in some tenths of a second."""
    name = np.dtype(dtype).name
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype: got {dtype!r}, expected float32 or float64")
    return _fma_peak(name, checked_threads(threads))


@functools.cache
def _fma_peak(name: str, threads: int) -> float:
    return flops_per_turn(name) * on_threads(turns_per_second, threads, multiply_adds.of(name).resolve())


def flops_per_turn(name: str) -> float:
    """Floating-point operations of a turn of `multiply_adds`."""
    return 2.0 * accumulators() * blocks_for(getattr(types, name)).lanes


def fma_speed(threads: int | None = None) -> float:
    """Floating-point operations that `threads` threads (None: as many as numba uses) do in a second at this very moment: the
    best of a millisecond, float32. `fma_peak` is what they can do; less means a lower clock rate, or shared cores."""
    return flops_per_turn("float32") * on_threads(short_bursts().turns_per_second, checked_threads(threads))


@functools.cache
def short_bursts() -> Bursts:
    """Bursts of a tenth of the turns, kept for the process."""
    return Bursts(multiply_adds.of("float32").resolve(), TURNS // 10)


def turns_per_second(body: int) -> float:
    """Return the turns of `body` in a second, at best. One thread: the best of all bursts. Several: no further bursts once each
    thread reaches 97 % of one alone."""
    threads = numba.get_num_threads()
    if threads == 1:
        return best_of(body, TURNS)
    return best_of(body, TURNS, enough=0.97 * threads * on_threads(turns_per_second, 1, body))


@functools.cache
def read_bandwidth(threads: int) -> float:
    """Return bytes that `threads` threads read from memory in a second, from one end of an array to the other."""
    source = np.ones(READ_BYTES, np.uint8)
    turn_bytes = accumulators() * target_isa().vector_bytes
    turns = READ_BYTES // turn_bytes // threads
    return turn_bytes * on_threads(best_of, threads, reads.of("float32").resolve(), turns, source)
