"""Arrays as what a fit goes over, in memory or in mapped files, as they lie or in a new order each epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastbp.compiler.code import call_code
from fastbp.data import mapped
from fastbp.engine.shuffle import SHUFFLE_STREAM, shuffle
from fastbp.network.network import Network
from fastbp.network.samples import Samples
from fastbp.training.run import Piece, Run


class Rows:
    """Rows of arrays in minibatches of `batch_size`, the last of which may be smaller; a Source.

    What is read of a mapped file is given back after each piece.
    """

    def __init__(self, samples: Samples, batch_size: int, shuffled: bool):
        self.samples, self.shuffled = samples, shuffled
        self.settings = {"rows": len(samples), "batch_size": batch_size, "shuffle": shuffled}
        self.batch_size = min(batch_size, len(samples))
        self.steps_per_epoch = -(-len(samples) // self.batch_size)
        self.in_files = mapped.too_large(samples.x, samples.y, samples.weights)
        self.most_steps = self.steps_per_epoch  # of a piece
        if self.in_files:
            self.most_steps = max(1, mapped.rows_at_once(self.in_files, shuffled) // self.batch_size)

    def pieces(self, epoch: int, run: Run) -> Iterator[Piece]:
        """Yield ranges of the rows."""
        order = self.next_order(run.net)
        with mapped.read_in_any_order(self.in_files if self.shuffled else []):
            step = 0
            while step < self.steps_per_epoch:
                count = min(run.steps_at_once, self.steps_per_epoch - step, self.most_steps)
                first, last = step * self.batch_size, min((step + count) * self.batch_size, len(self.samples))
                yield Piece(self.samples, first, last, count, order)
                for array in self.in_files:
                    mapped.give_back(array, *((first, last) if order is None else ()))
                step += count

    def next_order(self, net: Network) -> np.ndarray | None:
        """Return the order of the network's next epoch; None for that in which the rows lie."""
        return epoch_order(net, len(self.samples)) if self.shuffled else None


def epoch_order(net: Network, rows: int) -> np.ndarray:
    """Return the row numbers of the network's next epoch, shuffled by its seed and the number of epochs shuffled so far."""
    net.epochs_shuffled += 1
    order = np.empty(rows, np.int64)
    call_code(shuffle.of().resolve(), net.seed, SHUFFLE_STREAM + net.epochs_shuffled, rows, order.ctypes.data)
    return order
