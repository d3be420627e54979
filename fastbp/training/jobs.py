"""Networks as jobs for compiled code: laid down, advanced, and brought up to date."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from fastbp import losses, optimizers
from fastbp.callbacks import EarlyStopping, Progress
from fastbp.compiler.llvm import value_in
from fastbp.engine import jobs as compiled
from fastbp.engine.memory import set_fields, zeros_apart
from fastbp.engine.table import NETWORK
from fastbp.network.blocks import SliceBlock, raise_from
from fastbp.network.network import Network
from fastbp.network.samples import Evaluation, Samples
from fastbp.network.sharing import PREDICT_ROWS
from fastbp.parallel.region import region
from fastbp.training.rollback import Rollback
from fastbp.training.rows import Rows
from fastbp.training.run import FIRST_ALONE, GUESSED_SECONDS, SLICE_SECONDS, Run

CHUNK_SECONDS = (
    1e-3  # guessed length of a chunk (up to ten times too long): a thread looks at the deadline between chunks
)
RATES_AT_ONCE = (
    1 << 16
)  # steps whose learning rates are computed ahead: no job should have to wait for more within a call
EPOCHS_AT_ONCE = 1 << 16  # epochs whose figures have room, for the same reason
LONG_EPOCH = 100_000  # rows; their order takes 8 bytes each


class JobSpec(NamedTuple):
    """One network and what it is to be trained with, checked."""

    net: Network
    loss: losses.Loss
    optimizer: optimizers.Optimizer
    batch_size: int
    epochs: int
    samples: Samples
    validation: Evaluation | None = None


class Job:
    """One network while it is trained: its record for compiled code, and what the record's addresses refer to."""

    def __init__(self, spec: JobSpec, shuffle: bool, stopping: EarlyStopping | None):
        net = self.net = spec.net
        self.rollback = Rollback(net, spec.samples, spec.optimizer)
        self.rows = Rows(spec.samples, spec.batch_size, shuffle)
        self.run = Run(net, self.rows, spec.loss, spec.optimizer, spec.epochs)
        self.history = net.history = self.run.history
        self.block = self.run.block_of(spec.samples)
        self.validation: SliceBlock | None = None
        self.figures = np.zeros((5, min(spec.epochs, EPOCHS_AT_ONCE)))
        self.penalties: list[float] = []  # of the weights, an entry an epoch
        self.best = np.empty_like(net.state.values) if stopping is not None and stopping.restore_best else None
        self.record = zeros_apart(len(compiled.JOB), np.int64)
        self.address = self.record.ctypes.data
        self.order = np.empty(len(spec.samples) if shuffle else 0, np.int64)  # takes memory when it is written
        self.steps = spec.epochs * self.rows.steps_per_epoch
        self.rates_end = 0 if self.run.scheduled else self.steps
        self.describe_training()
        if spec.validation is not None:
            self.describe_validation(spec.validation)
        if stopping is not None:
            self.set(patience=stopping.patience, min_delta=stopping.min_delta)

    def describe_training(self) -> None:
        """Fill the record, for the first step of the first epoch."""
        run, samples, net = self.run, self.rows.samples, self.net
        costs, validation_costs, learning_rates, seconds, penalties = (row.ctypes.data for row in self.figures)
        self.set(
            advance=compiled.advance.of(net.dtype.name).resolve(), training=self.block.address,
            rows=0 if samples.rows is None else samples.rows.ctypes.data, row_count=len(samples),
            order=self.order.ctypes.data if self.rows.shuffled else 0, epochs=run.epochs,
            steps_per_epoch=self.rows.steps_per_epoch,
            steps_at_once=max(1, int(run.steps_at_once * CHUNK_SECONDS / GUESSED_SECONDS)),
            last=net.kept.ctypes.data, best=0 if self.best is None else self.best.ctypes.data,
            room=self.figures.shape[1], costs=costs, validation_costs=validation_costs, learning_rates=learning_rates,
            seconds=seconds, penalties=penalties, epochs_shuffled=net.epochs_shuffled, best_cost=np.inf,
        )  # fmt: skip

    def describe_validation(self, validation: Evaluation) -> None:
        """Add to the record what the cost is measured on after each epoch."""
        self.validation = block = validation.block("validation")
        at_once = max(1, self.read("steps_at_once") * 3 * self.rows.batch_size // PREDICT_ROWS) * PREDICT_ROWS
        self.set(validation=block.address, validation_count=len(validation.samples), validation_at_once=at_once)

    def set(self, **values: float) -> None:
        set_fields(self.record, compiled.JOB, **values)

    def read(self, name: str) -> int:
        return int(value_in(self.record, compiled.JobRecord, name))

    @property
    def is_running(self) -> bool:
        return self.read("state") == compiled.RUNNING

    @property
    def has_diverged(self) -> bool:
        """Whether a cost was not finite, which ends the job."""
        return self.read("state") == compiled.NOT_FINITE

    def precedence(self) -> tuple[bool, float]:
        """Return a key by which the highest job goes on first: one in the midst of a long epoch, so that not all networks hold
        an order of many rows; then the one that takes longest, by a guess, so that the last networks end together."""
        step, steps_per_epoch = self.read("step"), self.rows.steps_per_epoch
        return step % steps_per_epoch > 0 and len(self.order) > LONG_EPOCH, (self.steps - step) / self.run.steps_at_once

    def supply(self) -> None:
        """Provide the learning rates of the next steps, where they are not constant, and the step at which to pause."""
        step, steps_per_epoch = self.read("step"), self.rows.steps_per_epoch
        if self.rates_end < self.steps and self.rates_end - step <= RATES_AT_ONCE // 2:
            self.rates = self.run.rates(step, min(RATES_AT_ONCE, self.steps - step))
            self.rates_end = step + len(self.rates)
            self.set(rates=self.rates.ctypes.data, rates_first=step)
        self.set(pause=min(self.rates_end, (self.read("epoch") + self.figures.shape[1]) * steps_per_epoch))

    def note(self) -> int:
        """Bring the network and its history up to date; return the number of new epochs."""
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
        """Bring back the last finite epoch or the best one, also where the fit was interrupted."""
        self.note()
        if self.has_diverged:
            self.rollback.go_back(self.net, self.history)
        if self.best is not None and self.read("best_epoch"):
            self.net.state.values[:] = self.best


def train(jobs: list[Job], bar: Progress | None) -> None:
    """Train all networks, in compiled calls of SLICE_SECONDS."""
    try:
        if bar is not None:
            bar.on_fit_begin(None, None)
        running = jobs
        while running:
            advance(sorted(running, key=Job.precedence, reverse=True))
            for job in running:
                new = job.note()
                if bar is not None:
                    for _ in range(new):
                        bar.on_epoch_end(job.net, job.history)
                if not job.is_running:
                    job.order = np.empty(0, np.int64)
            running = [job for job in running if job.is_running]
    finally:
        for job in jobs:
            job.finish()
        if bar is not None:
            bar.on_fit_end(None, None)


def advance(jobs: list[Job]) -> None:
    """Make one compiled call."""
    for job in jobs:
        job.supply()
    Queue(jobs).advance(region.of().resolve())
    for job in jobs:
        job.raise_from()


class Queue:
    """Jobs in the order in which threads take them, for compiled calls of SLICE_SECONDS."""

    def __init__(self, jobs: list[Job]):
        self.addresses = np.array([job.address for job in jobs], np.int64)
        self.block = np.zeros(len(compiled.QUEUE), np.int64)
        set_fields(
            self.block, compiled.QUEUE,
            jobs=self.addresses.ctypes.data, length=len(jobs), duration=SLICE_SECONDS,
        )  # fmt: skip
        self.address = self.block.ctypes.data

    def advance(self, workers: int) -> None:
        """Make one compiled call; `workers`: the address of the parallel region, or 0 for one thread."""
        compiled.train_jobs.of().run(self.address, workers)


class SingleJob:
    """One network whose epochs follow each other in compiled code; threads share its steps where that pays, as in `fit`.

    penalty: of the weights, as in `engine.table.Network`; what it adds is kept in `penalties`, an entry an epoch.
    """

    def __init__(self, job: Job, penalty: float = 0.0):
        self.job, self.queue, self.finish = job, Queue([job]), job.finish
        self.run, self.history, self.penalties = job.run, job.history, job.penalties
        set_fields(job.run.training.network, NETWORK, penalty=penalty)
        self.shares_from = time.perf_counter() + FIRST_ALONE

    def advance(self, epochs: int) -> None:
        """Go on until `epochs` are finished in all, or the job is over. The history is brought up to date, also when Ctrl-C
        ends it sooner."""
        job = self.job
        try:
            while job.read("epoch") < epochs and job.is_running:
                self.call(epochs * job.rows.steps_per_epoch)
        finally:
            job.note()

    @property
    def diverged(self) -> bool:
        """Whether a cost was not finite, which ends the job."""
        return self.job.has_diverged

    def call(self, end: int) -> None:
        """Make one compiled call, up to step `end` at most."""
        job = self.job
        job.supply()
        workers = job.run.workers if time.perf_counter() >= self.shares_from else 0
        job.set(region=workers, pause=min(job.read("pause"), end))
        self.queue.advance(0)
        job.raise_from()
