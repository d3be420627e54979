"""`explain`: where the time of a step of training goes, and what the machine could do at most."""

from __future__ import annotations

import copy
import itertools
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbp import losses, optimizers
from fastbp._code import call_code
from fastbp.engine import steps
from fastbp.engine.memory import Training, set_fields, zeros_apart
from fastbp.engine.paths import path_of, threads_of
from fastbp.engine.table import BACKWARD, COST, FORWARD, GRADIENT, MINIBATCH, NETWORK, UPDATE, Operation
from fastbp.gemm.path import Path
from fastbp.gemm.peak import fma_peak, read_bandwidth, seconds_per_tick
from fastbp.layers import Dense
from fastbp.lowering import slice_block
from fastbp.model import Sequential, check_last_activation
from fastbp.schedules import whole_number

__all__ = ["Explanation", "Row", "explain"]

RUN_SECONDS = 0.006  # what one timed run aims at
SECONDS = 0.3  # what all of them aim at; the fastest counts
MOST_RUNS, FEWEST_RUNS = 100, 3
DATA_BYTES = 2**23  # of the rows that minibatches are drawn from
CACHE_BYTES = 2**25  # a step that touches more finds its operands in memory

# What bounds a product: the largest of these shares of its time, unless arithmetic takes ARITHMETIC of it. The constants are
# rough, in the unit of a tile's steps of k (as many multiply-adds as it has elements) or of the planner's multiply-adds.
ARITHMETIC = 0.75
SMALL = 0.1  # no share below this one is worth naming
TILE_STEPS = 8.0  # starting and ending a tile
UPDATE_STEPS = 4.0  # updating the elements of a tile, for each vector that the rule reads and writes
PACKING = 12.0  # multiply-adds that packing one element takes
CALL_SECONDS = {False: 0.1e-6, True: 0.7e-6}  # of one operation's work, on one thread and shared


class Row(NamedTuple):
    """One operation's work in a step, or what else a step does. Times in seconds, of one step.

    flops: two for each multiply-add of its product. bytes: operands read and results written, each once. limit: what the
    machine needs at least: flops at the peak of the threads used or, in a step that does not fit the caches, bytes at the
    bandwidth of memory, whichever is longer. fill: the share of the elements in the tiles that lie within the product;
    0 without one. threads: 0 where it is not told. packs: "", "A", "B" or "AB". grid: in how many ways rows and columns are
    shared. gradients: "stored", or "consumed" by the update.
    """

    operation: str
    work: str
    flops: float = 0.0
    bytes: float = 0.0
    limit: float = 0.0
    seconds: float = 0.0
    fill: float = 0.0
    threads: int = 0
    packs: str = ""
    grid: tuple[int, int] = (0, 0)
    gradients: str = ""
    bound: str = ""

    @property
    def share(self) -> float:
        """Of the limit."""
        return self.limit / self.seconds if self.seconds else 0.0

    @property
    def path(self) -> str:
        """In words."""
        words = [{0: "", 1: "1 thread"}.get(self.threads, f"{self.threads} threads")]
        if self.fill:
            words += [f"{self.grid[0]} x {self.grid[1]}"] * (self.threads > 1)
            words += [f"packs {self.packs}" if self.packs else "straight", self.gradients]
        return ", ".join(filter(None, words))


@dataclass(frozen=True)
class Explanation:
    """What `explain` found. `rows`: the works of a step, then "calls and the rest", which makes up the difference to the last
    row, the whole step. peak: flop/s of the `threads` that train, all together."""

    rows: tuple[Row, ...]
    peak: float
    threads: int
    seconds_per_step: float
    batch_size: int
    dtype: str

    def __str__(self) -> str:
        cells = [HEADINGS, *map(cells_of, self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(map(aligned, row, widths, LEFT)).rstrip() for row in cells]
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        head = (
            f"{self.batch_size} rows a step, {self.dtype}, {threads}, {self.peak / 1e9:.0f} GFLOP/s at most; "
            f"{1 / self.seconds_per_step:,.0f} steps a second"
        )
        return "\n".join([head, "", lines[0], *lines[1:-2], "", *lines[-2:]])


HEADINGS = ("operation", "work", "MFLOP", "kB", "limit us", "us", "of limit", "tiles", "path", "bound by")
LEFT = (True, True, *[False] * 6, True, True)


def cells_of(row: Row) -> tuple[str, ...]:
    flops, limit = f"{row.flops / 1e6:.3f}" * bool(row.flops), f"{1e6 * row.limit:.2f}" * bool(row.limit)
    shares = (f"{100 * x:.0f} %" * bool(x) for x in (row.share, row.fill))
    kb, us = f"{row.bytes / 1e3:.1f}" * bool(row.bytes), f"{1e6 * row.seconds:.2f}"
    return row.operation, row.work, flops, kb, limit, us, *shares, row.path, row.bound


def aligned(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)


# ------------------------------------------------------------------------------------------------------------- measuring


def explain(net: Sequential, batch_size: int, *, loss: Any, optimizer: Any) -> Explanation:
    """Where the time of a step goes, from training a copy of `net` for some tenths of a second on random numbers, at a
    learning rate of 0: the network stays as it is. The clock costs some hundredths of a microsecond a row of the table."""
    loss, optimizer = losses.as_loss(loss), optimizers.as_optimizer(optimizer)
    batch_size = whole_number("batch_size", batch_size, at_least=1)
    check_last_activation(net, loss)
    trial = Trial(net, batch_size, loss, optimizer)
    seconds, clock = trial.fastest_run()
    rows = list(rows_of(trial, clock))
    measured = sum(row.seconds for row in rows)
    peak = fma_peak(net.dtype, trial.threads[0])
    flops, traffic = sum(row.flops for row in rows), sum(row.bytes for row in rows)
    rows.append(Row("", "calls and the rest", seconds=seconds - measured))
    rows.append(Row("", "step", flops, traffic, trial.limit(flops, traffic, trial.threads[0]), seconds))
    return Explanation(tuple(rows), peak, trial.threads[0], seconds, batch_size, net.dtype.name)


class Trial:
    """A copy of a network, in training."""

    def __init__(self, net: Sequential, batch_size: int, loss: losses.Loss, optimizer: optimizers.Optimizer):
        self.net, self.optimizer, self.batch_size = twin_of(net), optimizer, batch_size
        self.fused = net.fuses(optimizer, batch_size)
        self.training = self.net.training(loss, optimizer, batch_size)
        self.training.learning_rate[0] = 0.0
        self.workers = net.region_for(batch_size)
        self.threads = threads_of(self.training, self.workers)
        self.records = [Operation(*map(int, record)) for record in self.training.operations]
        self.x, self.y = random_samples(net, loss, batch_size)
        self.block = slice_block(self.training, x=self.x, y=self.y)

    def run(self, step_count: int, clock: np.ndarray | None = None) -> float:
        """Train for so many steps, on shuffled rows; the seconds they took."""
        rng, rows = np.random.default_rng(0), step_count * self.batch_size
        order = rng.permutation(np.resize(np.arange(len(self.x)), rows))
        set_fields(self.training.network, NETWORK, clock=0 if clock is None else clock.ctypes.data)
        self.block.set(last=rows, order=order.ctypes.data, order_stride=8)
        began = time.perf_counter()
        self.net._run(steps.train_slice, self.block.address, self.workers)
        seconds = time.perf_counter() - began
        if self.block.fields[steps.SLICE["stopped"] // 8] >= 0:
            raise FloatingPointError(
                "explain: got a cost of NaN or infinity for random numbers, expected a finite one: are the parameters finite, "
                "and does the last layer give what the cost takes?"
            )
        return seconds

    def fastest_run(self) -> tuple[float, np.ndarray]:
        """Seconds a step of the fastest of several runs, and those of each work in it."""
        self.run(1)  # compiles
        count = max(1, min(10_000, int(RUN_SECONDS / min(self.run(1) for _ in range(3)))))
        best, clock_of_best, spent = np.inf, np.zeros(0), 0.0
        for done in itertools.count():
            if done >= MOST_RUNS or (done >= FEWEST_RUNS and spent > SECONDS):
                return best, clock_of_best
            clock = np.zeros(3 * len(self.records) + 3, np.int64)
            seconds = self.run(count, clock)
            spent += seconds
            if seconds / count < best:
                best, clock_of_best = seconds / count, clock * seconds_per_tick() / count
        raise AssertionError

    def limit(self, flops: float, traffic: float, threads: int) -> float:
        """Seconds that the machine needs at least."""
        arithmetic = flops / fma_peak(self.net.dtype, max(threads, 1)) if flops else 0.0
        return max(arithmetic, traffic / read_bandwidth(max(threads, 1)) if self.exceeds_caches else 0.0)

    @property
    def exceeds_caches(self) -> bool:
        t = self.training
        return t.parameters.nbytes + t.moments.nbytes + t.workspace.nbytes > CACHE_BYTES


def twin_of(net: Sequential) -> Sequential:
    """A network with the same layers and parameters, without moments; all vectors in places as good as those of `net`."""
    twin = copy.copy(net)
    twin.parameters, twin._gradients = zeros_apart(net.parameters.size, net.dtype), None
    twin.parameters[:] = net.parameters
    twin._counters, twin._rule = zeros_apart(2, np.int64), None
    return twin


def random_samples(net: Sequential, loss: losses.Loss, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """x of normal numbers, and y of the kind that the loss takes: labels, or numbers from 0 to 1."""
    rng, rows = np.random.default_rng(0), max(batch_size, DATA_BYTES // (net.inputs * net.dtype.itemsize))
    x = rng.standard_normal((min(rows, 10_000 + batch_size), net.inputs), net.dtype)
    if loss.takes_labels:
        return x, rng.integers(0, net.outputs, len(x))
    return x, rng.random((len(x), net.outputs), net.dtype)
