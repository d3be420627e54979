"""An epoch of training over rows: their order, the compiled calls it is cut into, what it leaves in the history."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastbp import losses
from fastbp.compiler.code import call_code
from fastbp.data import mapped
from fastbp.engine.shuffle import SHUFFLE_STREAM, shuffle
from fastbp.engine.train import train_slice
from fastbp.network.configure import configure
from fastbp.network.network import Network
from fastbp.network.samples import Samples
from fastbp.schedules import Constant
from fastbp.training.history import History
from fastbp.training.rollback import RefusedData

GUESSED_SECONDS = 0.01  # what the first compiled call aims at
SLICE_SECONDS = 0.05  # what one compiled call aims at: it lasts less than 0.1 s, and costs some 10 us by itself
FIRST_ALONE = 0.02  # seconds of an estimator's fit on one thread: one that is over sooner need not wait for busy cores


def epoch_order(net: Network, rows: int) -> np.ndarray:
    """The row numbers of the next epoch, shuffled; depends on the network's seed and how often it was shuffled alone."""
    net.epochs_shuffled += 1
    order = np.empty(rows, np.int64)
    call_code(shuffle.of().resolve(), net.seed, SHUFFLE_STREAM + net.epochs_shuffled, rows, order.ctypes.data)
    return order


class Fit:
    """One call of `fit`: what it was given, and the state of its run."""

    def __init__(
        self, net: Network, samples: Samples, loss: losses.Loss, optimizer: Any, batch_size: int, epochs: int,
        shuffle: bool,
    ):  # fmt: skip
        self.net, self.samples, self.loss = net, samples, loss
        self.optimizer, self.epochs, self.shuffle = optimizer, epochs, shuffle
        self.batch_size = min(batch_size, len(samples))
        self.steps_per_epoch = -(-len(samples) // self.batch_size)
        net.sharing.region_for(self.batch_size)  # fails, where it does, before anything changes
        net.use(optimizer)
        self.make_room()
        self.block = samples.block(self.training)
        self.in_files = mapped.too_large(samples.x, samples.y, samples.weights)
        self.most_steps = self.steps_per_epoch
        if self.in_files:
            self.most_steps = max(1, mapped.rows_at_once(self.in_files, shuffle) // self.batch_size)
        self.steps_at_once = self.first_guess()
        self.history = History()

    def make_room(self) -> None:
        """A workspace for minibatches of the batch size."""
        net, batch_size = self.net, self.batch_size
        fused = net.fuses(self.optimizer, batch_size)
        self.training = net.workspaces.for_purpose("fit", batch_size, stores=not fused)
        configure(self.training, self.loss, self.optimizer, net.dtype.name, fused)
        self.workers = net.sharing.region_for(batch_size)

    def first_guess(self) -> int:
        """Steps for the first compiled call: some thousandths of a second, as a rule."""
        flops = 3.0 * self.batch_size * self.net.sharing.flops
        return max(1, int(GUESSED_SECONDS / (flops / 1e10 + 5e-6)))

    def run_epoch(self, epoch: int) -> None:
        """One epoch, in slices; the cost that is not finite, or a wrong label, raises."""
        rows, began = len(self.samples), time.perf_counter()
        order = epoch_order(self.net, rows) if self.shuffle else None
        self.block.set(cost=0.0, weight=0.0)
        step = 0
        while step < self.steps_per_epoch:
            count = min(self.steps_at_once, self.steps_per_epoch - step, self.most_steps)
            first, last = step * self.batch_size, min((step + count) * self.batch_size, rows)
            rates = self.rates(epoch * self.steps_per_epoch + step, count)
            self.block.set(
                first=first, last=last, order=0 if order is None else order.ctypes.data, rates=rates.ctypes.data
            )
            self.run_slice(count)
            if self.block["stopped"] >= 0:
                self.stop(epoch, self.block["stopped"] // self.batch_size)
            for array in self.in_files:
                mapped.give_back(array, *((first, last) if order is None else ()))
            step += count
            self.history.steps += count
        self.end_epoch(epoch, began)

    def end_epoch(self, epoch: int, began: float) -> None:
        """What it leaves in the history."""
        if not self.net.state.keep_if_finite(
            epoch + 1 < self.epochs
        ):  # the last update's doing: no cost has shown it yet
            self.stop(epoch, self.steps_per_epoch - 1)
        self.history.seconds.append(time.perf_counter() - began)
        self.history.cost.append(self.block["cost"] / self.block["weight"])
        self.history.learning_rate.append(float(self.training.learning_rate[0]))

    def rates(self, step: int, count: int) -> np.ndarray:
        """The learning rate of each of `count` steps from that one, counted from the start of the fit."""
        if isinstance(self.optimizer.schedule, Constant):
            return np.full(count, self.optimizer.schedule.learning_rate)
        epoch, step_of_epoch = np.divmod(np.arange(step, step + count), self.steps_per_epoch)
        epochs = epoch + step_of_epoch / self.steps_per_epoch
        return np.ascontiguousarray(self.optimizer.schedule(epochs), np.float64)

    def run_slice(self, count: int) -> None:
        train_slice.of(self.net.dtype.name).resolve()  # lest the first call's time is that of loading it
        began = time.perf_counter()
        self.block.run(train_slice, self.workers)
        seconds = max(time.perf_counter() - began, 1e-6)
        self.steps_at_once = max(1, min(max(4 * count, self.steps_at_once), int(count * SLICE_SECONDS / seconds)))

    def stop(self, epoch: int, step: int) -> None:
        if found := self.samples.wrong_number():
            raise RefusedData(found)
        raise FloatingPointError(
            f"cost: got NaN or infinity in epoch {epoch + 1}, step {step + 1}, from finite data; the network keeps the "
            "parameters of the last finite epoch. A smaller learning rate, or clip_norm, may help"
        )
