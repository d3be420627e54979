"""`explain`: where the time of a step of training goes, and what the machine could do at most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbp import losses, optimizers
from fastbp.engine.paths import path_of
from fastbp.engine.table import BACKWARD, COST, FORWARD, GRADIENT, MINIBATCH, UPDATE, Operation
from fastbp.explanation import Explanation, Row
from fastbp.gemm.path import Path
from fastbp.gemm.peak import fma_peak
from fastbp.layers import Custom, Dense
from fastbp.model import Sequential, check_last_activation
from fastbp.schedules import whole_number
from fastbp.trial import Trial

WORKS = {FORWARD: "forward", BACKWARD: "backward", GRADIENT: "gradient"}

# What bounds a product is the largest of these: estimates, in steps of k of its tiles (a multiply-add for each element).
ARITHMETIC = 0.75  # of the time or more: nothing else is named
SMALL = 0.1  # of the time: less is not worth naming
TILE_STEPS = 8.0  # starting and ending a tile
UPDATE_STEPS = 4.0  # updating the elements of a tile, for parameters and for each moment
PACKING = 12.0  # multiply-adds in the time of packing one element, as the planner has it
CALL_SECONDS = 0.1e-6  # dealing an operation's work to one thread
TEAM_CALL_SECONDS = 0.7e-6  # and to several


def explain(net: Sequential, batch_size: int, *, loss: Any, optimizer: Any) -> Explanation:
    """Where the time of a step goes: a copy of `net` is trained for half a second on shuffled random rows, at a learning rate
    of 0. What it takes to wake the threads, once for many steps, is left out; the clock itself costs some hundredths of a
    microsecond a row of the table."""
    loss, optimizer = losses.as_loss(loss), optimizers.as_optimizer(optimizer)
    batch_size = whole_number("batch_size", batch_size, at_least=1)
    check_last_activation(net, loss)
    trial = Trial(net, batch_size, loss, optimizer)
    clock = trial.fastest_run()
    seconds, rows = float(clock[-1]), list(rows_of(trial, clock))
    flops, traffic = sum(row.flops for row in rows), sum(row.bytes for row in rows)
    rows.append(Row("", "calls and the rest", seconds=seconds - sum(row.seconds for row in rows)))
    rows.append(Row("", "step", flops, traffic, trial.limit(flops, traffic, trial.team), seconds))
    return Explanation(tuple(rows), fma_peak(net.dtype, trial.team), trial.team, seconds, batch_size, net.dtype.name)


# ------------------------------------------------------------------------------------------------------------------ rows


def rows_of(trial: Trial, clock: np.ndarray) -> Iterator[Row]:
    """The rows of a step, in the order in which it does them, but for the last two."""
    K, size, rest = trial.batch_size, trial.size, clock[3 * len(trial.records) :]
    last = trial.records[-1]
    yield plain_row(trial, "minibatch", 2 * K * trial.net.inputs * size, rest[MINIBATCH], "copying rows")
    for i in range(len(trial.records)):
        yield operation_row(trial, i, FORWARD, clock)
    targets = 8 if trial.y.ndim == 1 else size * last.outputs
    yield plain_row(trial, "cost", K * (2 * size * last.outputs + targets), rest[COST])
    for i in reversed(range(len(trial.records))):
        o = trial.records[i]
        if i or not o.gradient or o.derivative:  # nothing is propagated to the data
            yield operation_row(trial, i, BACKWARD, clock)
        if o.gradient:
            yield operation_row(trial, i, GRADIENT, clock)
    if not trial.fused:
        vectors = 3 + 2 * trial.optimizer.moments + bool(trial.optimizer.clip_norm)
        yield plain_row(trial, "update", vectors * trial.net.parameters.nbytes, rest[UPDATE])


def plain_row(trial: Trial, work: str, traffic: float, seconds: float, bound: str = "functions of elements") -> Row:
    """What a step does besides its operations."""
    limit = trial.limit(0.0, traffic, trial.team)
    return Row("", work, 0.0, traffic, limit, float(seconds), bound="memory" if trial.exceeds_caches else bound)


def operation_row(trial: Trial, i: int, work: int, clock: np.ndarray) -> Row:
    o, layer, threads = trial.records[i], trial.net.layers[i], trial.threads[i]
    path = path_of(trial.training, i, WORKS[work], threads) if isinstance(layer, Dense) else None
    path = path if path is not None and path.k else None
    flops = 2.0 * path.m * path.n * path.k if path else 0.0
    traffic = float(trial.size * elements(trial, o, work, path))
    limit = trial.limit(flops, traffic, threads)
    row = Row(f"{i} {layer!r}", WORKS[work], flops, traffic, limit, float(clock[3 * i + work]), threads=threads)
    if path is None:
        theirs = isinstance(layer, Custom)
        return row._replace(
            threads=1 if theirs else threads, bound="your functions" if theirs else "functions of elements"
        )
    return row._replace(
        fill=path.m * path.n / path.cells, packs="A" * path.packs_a + "B" * path.packs_b, grid=(path.across, path.down),
        gradients="" if work != GRADIENT else "stored" if path.stores else "consumed",
        bound=bound(trial, row, path, work == GRADIENT and not path.stores),
    )  # fmt: skip


def elements(trial: Trial, o: Operation, work: int, path: Path | None) -> int:
    """How many an operation's work reads and writes at least."""
    x, out, parameters = trial.batch_size * o.inputs, trial.batch_size * o.outputs, o.weight_count + o.bias_count
    if work == FORWARD:
        return x + parameters + (2 * out if o.z else out)
    if work == GRADIENT:
        return x + out + parameters * (2 + 2 * trial.optimizer.moments if trial.fused else 1)
    if (
        o.weights and not o.gradient
    ):  # the user's: reads delta, x, output and parameters, writes delta below and gradients
        return 2 * (x + out + parameters)
    product = out + o.weight_count + (2 * x if o.below else x) if path else 0
    derivative = (2 if path else 3) * out if o.derivative else 0
    return product + derivative if path or derivative else x + out


# ----------------------------------------------------------------------------------------------------------------- bounds


def bound(trial: Trial, row: Row, path: Path, updates: bool) -> str:
    """In a few words, what takes most of a product's time besides multiply-adds that somebody asked for."""
    ideal = row.flops / fma_peak(trial.net.dtype, row.threads)
    if ideal * row.threads / trial.team >= ARITHMETIC * row.seconds:
        return "arithmetic"
    losses = losses_of(trial, path, ideal, row.threads, updates)
    losses["memory"] = row.limit - ideal
    if row.threads < trial.team:
        losses["one thread: too small to share"] = row.seconds * (1 - row.threads / trial.team)
    largest = max(losses, key=lambda name: losses[name])
    return largest if losses[largest] >= SMALL * row.seconds else "caches, waiting"


def losses_of(trial: Trial, path: Path, ideal: float, threads: int, updates: bool) -> dict[str, float]:
    """Seconds lost to each cause, by estimate; `ideal`: those of the arithmetic alone."""
    tiles = ideal * path.cells / (path.m * path.n)
    largest_part = path.rows * path.columns
    packed = path.packs_a * path.rows + path.packs_b * path.columns
    return {
        "tiles not filled": tiles - ideal,
        "parts of unequal size": ideal * (largest_part * threads / (path.m * path.n) - 1),
        "short sum: starting and ending tiles": tiles * TILE_STEPS / path.k,
        "the optimizer's update": tiles * UPDATE_STEPS * (1 + trial.optimizer.moments) / path.k if updates else 0.0,
        "packing": tiles * PACKING * packed / largest_part,
        "calls": TEAM_CALL_SECONDS if threads > 1 else CALL_SECONDS,
    }
