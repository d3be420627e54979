"""The comparison: every contender is timed in turn, round after round, and the best of all rounds counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fastbp.bench.machine import Machine, is_installed, this_machine, versions
from fastbp.bench.worker import Fault, Worker
from fastbp.bench.workload import Workload

REST = 0.02  # seconds after a contender's turn: a pool of spinning threads goes to sleep
GUESSED_SHARE = 0.25  # of the peak that a contender reaches: it decides how many steps an epoch has
FEWEST_STEPS, MOST_STEPS = 10, 1000


@dataclass
class Result:
    """What one workload took. limit: seconds of a step at the peak; seconds and faults, by contender: seconds of a step, or
    why there is no figure."""

    work: Workload
    limit: float
    seconds: dict[str, float] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The best peer's time divided by fastbp's; None where one of the two is missing."""
        peers = [seconds for name, seconds in self.seconds.items() if name != "fastbp"]
        return min(peers) / self.seconds["fastbp"] if peers and "fastbp" in self.seconds else None

    def as_json(self) -> dict[str, Any]:
        """Return all figures, the workload's own among them."""
        found = {"limit": self.limit, "seconds": self.seconds, "faults": self.faults, "ratio": self.ratio}
        return {**asdict(self.work), "flops": self.work.flops, **found}


@dataclass
class Comparison:
    """What `compare` returns: a Result for each workload, and what they were measured with."""

    machine: Machine
    versions: dict[str, str]
    contenders: Sequence[str]
    results: list[Result]

    @property
    def mean_ratio(self) -> float | None:
        """The geometric mean of the ratios, if there are any."""
        ratios = [result.ratio for result in self.results if result.ratio is not None]
        return statistics.geometric_mean(ratios) if ratios else None

    def as_json(self) -> dict[str, Any]:
        """Return all figures, in seconds and flop/s."""
        machine = {**asdict(self.machine), "crowded": self.machine.crowded}
        results = [result.as_json() for result in self.results]
        return {"machine": machine, "versions": self.versions, "results": results, "mean_ratio": self.mean_ratio}


def compare(
    works: Sequence[Workload],
    contenders: Sequence[str],
    *,
    threads: int,
    rounds: int,
    seconds: float,
    report: Callable[[str], None],
) -> Comparison:
    """Time a step of each of `works`, all of one dtype, by each contender with `threads` threads; the best of `rounds` counts.

    seconds: about how long an epoch, which is timed as a whole, is to last: its number of steps follows from it. `report` is
    called with each workload's name before it begins.
    """
    machine = this_machine(threads, works[0].dtype)
    results = [Result(within(seconds, work, machine.peak), work.flops / machine.peak) for work in works]
    with ExitStack() as stack:
        workers = {n: stack.enter_context(closing(Worker(n, threads))) for n in contenders if is_installed(n)}
        for result in results:
            report(result.work.name)
            result.faults.update(dict.fromkeys(set(contenders) - set(workers), "not installed"))
            for _ in range(rounds):
                take_turns(result, workers)
    return Comparison(machine, versions(contenders), contenders, results)


def within(seconds: float, work: Workload, peak: float) -> Workload:
    """Return the workload with as many steps as take about `seconds`."""
    steps = round(seconds * GUESSED_SHARE * peak / work.flops)
    return replace(work, steps=max(FEWEST_STEPS, min(MOST_STEPS, steps)))


def take_turns(result: Result, workers: dict[str, Worker]) -> None:
    """Run one round: each contender that has not failed trains the workload once more."""
    for name, worker in workers.items():
        if name in result.faults:
            continue
        try:
            seconds = worker.seconds(result.work)
            result.seconds[name] = min(seconds, result.seconds.get(name, seconds))
        except Fault as fault:
            result.faults[name] = str(fault)
            result.seconds.pop(name, None)
        time.sleep(REST)
