"""Networks as jobs for compiled code: laid down, advanced, and brought up to date."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from fastbp import losses, optimizers
from fastbp.callbacks import EarlyStopping, Progress
from fastbp.compiler.llvm import value_in
from fastbp.engine import jobs
from fastbp.engine.memory import set_fields, zeros_apart
from fastbp.engine.table import NETWORK
from fastbp.network.blocks import SliceBlock, raise_from
from fastbp.network.network import Network
from fastbp.network.samples import Evaluation, Samples
from fastbp.network.sharing import PREDICT_ROWS
from fastbp.parallel.region import region
from fastbp.schedules import Constant
from fastbp.training.rollback import Snapshot
from fastbp.training.run import FIRST_ALONE, GUESSED_SECONDS, SLICE_SECONDS, Fit

CHUNK_SECONDS = 1e-3  # by the guess, which is up to ten times too long: how late a thread may see that time is up
RATES_AT_ONCE = 1 << 16  # steps whose learning rates are computed ahead, lest a job waits for more within a call
EPOCHS_AT_ONCE = 1 << 16  # epochs whose figures have room, for the same reason
LONG_EPOCH = 100_000  # rows; their order takes 8 bytes each


class Plan(NamedTuple):
    """One network and what it is to be trained with, checked."""

    net: Network
    loss: losses.Loss
    optimizer: optimizers.Optimizer
    batch_size: int
    epochs: int
    samples: Samples | None = None
    validation: Evaluation | None = None


class Work:
    """One network while it is trained: its job for compiled code, and what the job's addresses refer to."""

    def __init__(self, plan: Plan, shuffle: bool, stopping: EarlyStopping | None):
        net = self.net = plan.net
        assert plan.samples is not None
        self.last = Snapshot(net, plan.samples, plan.optimizer)
        self.run = Fit(net, plan.samples, plan.loss, plan.optimizer, plan.batch_size, plan.epochs, shuffle)
        self.history = net.history = self.run.history
        self.validation: SliceBlock | None = None
        self.samples = plan.samples
        self.figures = np.zeros((5, min(plan.epochs, EPOCHS_AT_ONCE)))
        self.penalties: list[float] = []  # of the weights, an entry an epoch
        self.best = np.empty_like(net.state.values) if stopping is not None and stopping.restore_best else None
        self.record = zeros_apart(len(jobs.JOB), np.int64)
        self.address = self.record.ctypes.data
        self.order = np.empty(len(plan.samples) if shuffle else 0, np.int64)  # takes memory when it is written
        self.steps = plan.epochs * self.run.steps_per_epoch
        self.rates_end = self.steps if isinstance(plan.optimizer.schedule, Constant) else 0
        self.describe_training(plan, shuffle)
        if plan.validation is not None:
            self.describe_validation(plan.validation)
        if stopping is not None:
            self.set(patience=stopping.patience, min_delta=stopping.min_delta)

    def describe_training(self, plan: Plan, shuffle: bool) -> None:
        run, samples, net = self.run, self.samples, self.net
        costs, validation_costs, learning_rates, seconds, penalties = (row.ctypes.data for row in self.figures)
        self.set(
            advance=jobs.advance.of(net.dtype.name).resolve(), training=run.block.address,
            rows=0 if samples.rows is None else samples.rows.ctypes.data, row_count=len(samples),
            order=self.order.ctypes.data if shuffle else 0, epochs=run.epochs, steps_per_epoch=run.steps_per_epoch,
            steps_at_once=max(1, int(run.steps_at_once * CHUNK_SECONDS / GUESSED_SECONDS)),
            last=net.kept.ctypes.data, best=0 if self.best is None else self.best.ctypes.data,
            room=self.figures.shape[1], costs=costs, validation_costs=validation_costs, learning_rates=learning_rates,
            seconds=seconds, penalties=penalties, epochs_shuffled=net.epochs_shuffled, best_cost=np.inf,
        )  # fmt: skip

    def describe_validation(self, validation: Evaluation) -> None:
        self.validation = block = validation.block("validation")
        at_once = max(1, self.read("steps_at_once") * 3 * self.run.batch_size // PREDICT_ROWS) * PREDICT_ROWS
        self.set(validation=block.address, validation_count=len(validation.samples), validation_at_once=at_once)

    def set(self, **values: float) -> None:
        set_fields(self.record, jobs.JOB, **values)

    def read(self, name: str) -> int:
        return int(value_in(self.record, jobs.JobRecord, name))

    def precedence(self) -> tuple[bool, float]:
        """The higher goes on first: in the midst of a long epoch, lest all networks hold an order of many rows; then what
        takes longest, by a guess, so that the last networks end together."""
        step, steps_per_epoch = self.read("step"), self.run.steps_per_epoch
        return step % steps_per_epoch > 0 and len(self.order) > LONG_EPOCH, (self.steps - step) / self.run.steps_at_once

    def supply(self) -> None:
        """Learning rates for the next steps, where they are not constant; and the step at which to pause."""
        step, steps_per_epoch = self.read("step"), self.run.steps_per_epoch
        if self.rates_end < self.steps and self.rates_end - step <= RATES_AT_ONCE // 2:
            self.rates = self.run.rates(step, min(RATES_AT_ONCE, self.steps - step))
            self.rates_end = step + len(self.rates)
            self.set(rates=self.rates.ctypes.data, rates_first=step)
        self.set(pause=min(self.rates_end, (self.read("epoch") + self.figures.shape[1]) * steps_per_epoch))

    def note(self) -> int:
        """Bring the network and its history up to date; returns how many epochs are new."""
        known, epochs, history = len(self.history.cost), self.read("epoch"), self.history
        series = [history.cost, history.validation_cost, history.learning_rate, history.seconds, self.penalties]
        new = self.figures[:, np.arange(known, epochs) % self.figures.shape[1]].tolist()
        for values, figures in zip(series, new, strict=True):
            if values is not history.validation_cost or self.validation is not None:
                values.extend(figures)
        history.steps, self.net.epochs_shuffled = self.read("step"), self.read("epochs_shuffled")
        return epochs - known

    def raise_from(self) -> None:
        """Raise what a function of the user's raised in the last compiled call, if anything."""
        raise_from(self.run.training)
        if self.validation is not None:
            raise_from(self.validation.training)

    def finish(self) -> None:
        """What follows the last epoch, also of a fit that was interrupted."""
        self.note()
        if self.read("state") == jobs.NOT_FINITE:
            self.last.go_back(self.net, self.history)
        if self.best is not None and self.read("best_epoch"):
            self.net.state.values[:] = self.best


def train(works: list[Work], bar: Progress | None) -> None:
    """All networks, in compiled calls of SLICE_SECONDS."""
    try:
        if bar is not None:
            bar.on_fit_begin(None, None)
        running = works
        while running:
            advance(sorted(running, key=Work.precedence, reverse=True))
            for work in running:
                new = work.note()
                if bar is not None:
                    for _ in range(new):
                        bar.on_epoch_end(work.net, work.history)
                if work.read("state") != jobs.RUNNING:
                    work.order = np.empty(0, np.int64)
            running = [work for work in running if work.read("state") == jobs.RUNNING]
    finally:
        for work in works:
            work.finish()
        if bar is not None:
            bar.on_fit_end(None, None)


def advance(works: list[Work]) -> None:
    """One compiled call."""
    for work in works:
        work.supply()
    Jobs(works).advance(region.of().resolve())
    for work in works:
        work.raise_from()


class Jobs:
    """A block of jobs for compiled calls of SLICE_SECONDS, and what its addresses refer to."""

    def __init__(self, works: list[Work]):
        self.addresses = np.array([work.address for work in works], np.int64)
        self.block = np.zeros(len(jobs.QUEUE), np.int64)
        set_fields(
            self.block, jobs.QUEUE,
            jobs=self.addresses.ctypes.data, length=len(works), duration=SLICE_SECONDS,
        )  # fmt: skip
        self.address = self.block.ctypes.data
        self.code = jobs.train_jobs.of()
        self.code.resolve()

    def advance(self, workers: int) -> None:
        """One compiled call; `workers`: the address of the parallel region, or 0 for one thread."""
        self.code.compiled.ctypes(self.address, workers)


class Alone:
    """One network whose epochs follow each other in compiled code; threads share its steps where that pays, as in `fit`.

    penalty: of the weights, as in `engine.table.Network`; what it adds is kept in `penalties`, an entry an epoch.
    """

    def __init__(self, work: Work, penalty: float = 0.0):
        self.work, self.jobs, self.finish = work, Jobs([work]), work.finish
        self.run, self.history, self.penalties = work.run, work.history, work.penalties
        set_fields(work.run.training.network, NETWORK, penalty=penalty)
        self.shares_from = time.perf_counter() + FIRST_ALONE

    def advance(self, epochs: int) -> None:
        """Go on until so many epochs are finished in all, or the job is over. The history is brought up to date, also when
        Ctrl-C ends it sooner."""
        work = self.work
        try:
            while work.read("epoch") < epochs and work.read("state") == jobs.RUNNING:
                self.call(epochs * work.run.steps_per_epoch)
        finally:
            work.note()

    @property
    def diverged(self) -> bool:
        """Whether a cost was not finite, which ends the job."""
        return self.work.read("state") == jobs.NOT_FINITE

    def call(self, end: int) -> None:
        """One compiled call, up to step `end` at most."""
        work = self.work
        work.supply()
        workers = work.run.workers if time.perf_counter() >= self.shares_from else 0
        work.set(region=workers, pause=min(work.read("pause"), end))
        self.jobs.advance(0)
        work.raise_from()
