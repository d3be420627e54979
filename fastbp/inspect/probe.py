"""A step of training measured from inside, on a copy of a network: what each work of it takes."""

from __future__ import annotations

import time

import numpy as np

from fastbp import losses, optimizers
from fastbp.engine.memory import set_fields
from fastbp.engine.step_paths import threads_of
from fastbp.engine.table import NETWORK, STEP, Operation
from fastbp.engine.train import train_slice
from fastbp.gemm.peak import fma_peak, read_bandwidth, seconds_per_tick
from fastbp.network.blocks import slice_block
from fastbp.network.network import Network
from fastbp.parallel.sharing_account import always_shared

RUN_SECONDS = 0.02  # what one run aims at
SECONDS = 0.8  # and all of them: the fastest counts
REST = 0.02  # seconds after a run: threads that woke up on one core move apart
FEWEST_RUNS, MOST_STEPS = 3, 20_000
DATA_BYTES = 2**23  # of the rows that minibatches are drawn from
CACHE_BYTES = 2**25  # what a work of a step touches beyond this much comes from memory


class Trial:
    """A copy of a network, in training."""

    def __init__(self, net: Network, batch_size: int, loss: losses.Loss, optimizer: optimizers.Optimizer):
        self.net, self.optimizer, self.batch_size, self.size = net.twin(), optimizer, batch_size, net.dtype.itemsize
        self.fused = net.fuses(optimizer, batch_size)
        self.training = self.net.training(loss, optimizer, batch_size)
        self.training.learning_rate[0] = 0.0
        self.workers = net.sharing.region_for(batch_size)
        self.team, *self.threads = threads_of(self.training, self.workers)
        self.records = [Operation(*map(int, record)) for record in self.training.operations]
        self.x, self.y = random_samples(net, loss, batch_size)
        self.block = slice_block(self.training, x=self.x, y=self.y)

    def run(self, count: int) -> np.ndarray:
        """Return the seconds a step that each work takes in `count` steps on shuffled rows."""
        order = np.random.default_rng(0).permutation(np.resize(np.arange(len(self.x)), count * self.batch_size))
        clock = np.zeros(3 * len(self.records) + STEP + 1, np.int64)
        set_fields(self.training.network, NETWORK, clock=clock.ctypes.data)
        self.block.set(last=len(order), order=order.ctypes.data, order_stride=8)
        with always_shared():
            self.block.run(train_slice, self.workers)
        if self.block["stopped"] >= 0:
            raise FloatingPointError(
                "explain: got a cost of NaN or infinity on random numbers, expected a finite one: are the parameters "
                "finite, and does the last layer give what the cost takes?"
            )
        return clock * (seconds_per_tick() / count)

    def fastest_run(self) -> np.ndarray:
        """Return the seconds a step that each work takes, and at the end the whole step, in the fastest of several runs."""
        self.run(1)  # compiles
        runs, count = [self.run(1)], 1
        end = time.perf_counter() + SECONDS
        while len(runs) <= FEWEST_RUNS or time.perf_counter() < end:
            count = max(1, min(4 * count, MOST_STEPS, int(RUN_SECONDS / min(run[-1] for run in runs))))
            runs.append(self.run(count))
            time.sleep(REST if self.team > 1 else 0.0)
        return min(runs, key=lambda run: run[-1])

    def limit(self, flops: float, traffic: float, threads: int) -> float:
        """Return seconds that the machine needs at least."""
        return max(self.seconds_of(flops, threads), self.memory_seconds(traffic, threads))

    def seconds_of(self, flops: float, threads: int) -> float:
        """Return the seconds that `flops` take at the peak of `threads` threads."""
        return flops / fma_peak(self.net.dtype, threads) if flops else 0.0

    def memory_seconds(self, traffic: float, threads: int) -> float:
        """Return the seconds of moving `traffic` bytes from and to memory; 0 where the caches may hold them from step to
        step."""
        return traffic / read_bandwidth(threads) if traffic > CACHE_BYTES else 0.0


def random_samples(net: Network, loss: losses.Loss, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x of normal numbers, and y of the kind that the loss takes: labels, or numbers from 0 to 1."""
    rng, rows = np.random.default_rng(0), max(batch_size, DATA_BYTES // (net.inputs * net.dtype.itemsize))
    x = rng.standard_normal((min(rows, 10_000 + batch_size), net.inputs), net.dtype)
    if loss.takes_labels:
        return x, rng.integers(0, net.outputs, len(x))
    return x, rng.random((len(x), net.outputs), net.dtype)
