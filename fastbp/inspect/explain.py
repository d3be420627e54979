"""`explain`: where the time of a step of training goes, and what the machine could do at most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbp import losses, optimizers
from fastbp.checks import whole_number
from fastbp.engine.step_paths import path_of
from fastbp.engine.table import BACKWARD, COST, FORWARD, GRADIENT, MINIBATCH, UPDATE, Operation
from fastbp.gemm.path import Path
from fastbp.gemm.peak import fma_peak
from fastbp.inspect.probe import Trial
from fastbp.inspect.report import Explanation, Row
from fastbp.network.chain import check_loss
from fastbp.network.contract import NetworkLayer
from fastbp.network.network import Network

WORKS = {FORWARD: "forward", BACKWARD: "backward", GRADIENT: "gradient"}

# What bounds a product: the cause that takes most of its time. Estimates, in steps of k of its tiles, each as long as a
# multiply-add for every element; found on AVX-512, and rough elsewhere.
ARITHMETIC = 0.75  # of the time or more: nothing else is named
TILE_STEPS = 8.0  # starting and ending a tile
UPDATE_STEPS = 4.0  # updating the elements of a tile, for the parameters and for each moment
FUNCTION_STEPS = 32.0  # a root and a division, or an activation that is not SIMPLE, of the elements of a tile
SIMPLE = ("identity", "relu", "leaky_relu", "hard_sigmoid")
PACKING = 12.0  # multiply-adds in the time of packing one element, as the planner has it
CALL_SECONDS, TEAM_CALL_SECONDS = 0.1e-6, 0.7e-6  # dealing an operation's work to one thread, and to several


def explain(net: Network, batch_size: int, *, loss: Any, optimizer: Any) -> Explanation:
    """Return where the time of a step goes. A copy of `net` is trained for about a second on shuffled random rows, at a
    learning rate of 0. What it takes to wake the threads, once for many steps, is left out; the clock itself costs some
    hundredths of a microsecond a row of the table."""
    usual = "softmax_cross_entropy" if net.outputs > 1 else "mean_squared_error"
    loss, optimizer = losses.as_loss(usual if loss is None else loss), optimizers.as_optimizer(optimizer)
    batch_size = whole_number("batch_size", batch_size, at_least=1)
    check_loss(net, loss)
    trial = Trial(net, batch_size, loss, optimizer)
    clock = trial.fastest_run()
    seconds, rows = float(clock[-1]), list(rows_of(trial, clock))
    flops, traffic = sum(row.flops for row in rows), sum(row.bytes for row in rows)
    rows.append(Row("", "calls and the rest", seconds=seconds - sum(row.seconds for row in rows)))
    limit = sum(trial.limit(row.flops, row.bytes, trial.team) for row in rows)
    rows.append(Row("", "step", flops, traffic, limit, seconds))
    peaks = fma_peak(net.dtype, trial.team), fma_peak(net.dtype, 1)
    return Explanation(tuple(rows), *peaks, trial.team, seconds, batch_size, net.dtype.name)


# ------------------------------------------------------------------------------------------------------------------ rows


def rows_of(trial: Trial, clock: np.ndarray) -> Iterator[Row]:
    """Yield the rows of a step, in the order in which it does them, but for the last two."""
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
    """Return what a step does besides its operations."""
    limit = trial.memory_seconds(traffic, trial.team)
    return Row("", work, 0.0, traffic, limit, float(seconds), bound="memory" if limit else bound)


def operation_row(trial: Trial, i: int, work: int, clock: np.ndarray) -> Row:
    o, layer, threads = trial.records[i], trial.net.layers[i], trial.threads[i]
    users = layer.custom == "layers"  # whose functions nobody asks for a path
    path = None if users else path_of(trial.training, i, WORKS[work], threads)
    path = path if path is not None and path.k else None
    flops = 2.0 * path.m * path.n * path.k if path else 0.0
    traffic = float(trial.size * elements(trial, o, work, path))
    limit = trial.limit(flops, traffic, threads)
    name = f"{i} {type(layer).__name__} {o.inputs}-{o.outputs}"
    row = Row(name, WORKS[work], flops, traffic, limit, float(clock[3 * i + work]), threads=threads)
    if path is None:
        if users:
            return row._replace(threads=1, bound="your functions")
        return row._replace(bound="functions of elements")
    row = row._replace(
        fill=path.m * path.n / path.cells, packs="A" * path.packs_a + "B" * path.packs_b, grid=(path.across, path.down),
        gradients="" if work != GRADIENT else "stored" if path.stores else "consumed",
    )  # fmt: skip
    return row._replace(bound=bound(trial, row, path, layer))


def elements(trial: Trial, o: Operation, work: int, path: Path | None) -> int:
    """Return how many an operation's work reads and writes at least."""
    x, out, parameters = trial.batch_size * o.inputs, trial.batch_size * o.outputs, o.parameter_count
    if work == FORWARD:
        return x + parameters + (2 * out if o.z else out)
    if work == GRADIENT:
        return x + out + parameters * (2 + 2 * trial.optimizer.moments if trial.fused else 1)
    if o.parameter_count and not o.gradient:  # the user's: delta, x, output, parameters; delta below and gradients
        return 2 * (x + out + parameters)
    product = out + o.inputs * o.outputs + (2 * x if o.below else x) if path else 0
    derivative = (2 if path else 3) * out if o.derivative else 0
    return product + derivative if path or derivative else x + out


# ----------------------------------------------------------------------------------------------------------------- bounds


def bound(trial: Trial, row: Row, path: Path, layer: NetworkLayer) -> str:
    """Return in a few words what takes most of a product's time besides the multiply-adds themselves."""
    ideal, seconds = trial.seconds_of(row.flops, row.threads), row.seconds
    if ideal * row.threads / trial.team >= ARITHMETIC * seconds:
        return "arithmetic"
    lost = estimates(trial, row, path, layer, ideal)
    lost["memory"] = max(0.0, row.limit - ideal)
    lost["caches, waiting"] = seconds - ideal - sum(lost.values())  # what no estimate explains
    lost["one thread: too small to share"] = seconds * (1 - row.threads / trial.team)
    return max(lost, key=lambda cause: lost[cause])


def estimates(trial: Trial, row: Row, path: Path, layer: NetworkLayer, ideal: float) -> dict[str, float]:
    """Return seconds lost to each cause; `ideal`: those of the arithmetic alone."""
    tiles = ideal * path.cells / (path.m * path.n)
    largest_part = path.rows * path.columns
    packed = path.packs_a * path.rows + path.packs_b * path.columns
    activates = row.work == WORKS[FORWARD] and layer.activation not in SIMPLE
    updates = row.gradients == "consumed"
    return {
        "tiles not filled": tiles - ideal,
        "parts of unequal size": ideal * (largest_part * row.threads / (path.m * path.n) - 1),
        "short sum: starting and ending tiles": tiles * TILE_STEPS / path.k,
        "the optimizer's update": tiles * update_steps(trial.optimizer) / path.k * updates,
        "the activation": tiles * FUNCTION_STEPS / path.k * activates,
        "packing": tiles * PACKING * packed / largest_part,
        "calls": TEAM_CALL_SECONDS if row.threads > 1 else CALL_SECONDS,
    }


def update_steps(optimizer: optimizers.Optimizer) -> float:
    draws_roots = optimizer.rule not in ("sgd", "momentum")
    return UPDATE_STEPS * (1 + optimizer.moments) + FUNCTION_STEPS * draws_roots
