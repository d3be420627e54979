"""What is trained to compare: a network, a minibatch, and the same numbers for every contender."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

Parameters = list[tuple[np.ndarray, np.ndarray]]  # weight (m, n) and bias (m,) of each layer


@dataclass(frozen=True)
class Workload:
    """Some steps of training: forward, softmax cross-entropy of labels, backward, update; rows in their order.

    The learning rate is so small that no cost diverges, and no unit dies and leaves subnormal moments, however long the
    training: a step always takes the same work.
    """

    sizes: tuple[int, ...]  # inputs, then the neurons of each layer
    batch_size: int
    activation: str = "relu"  # of the hidden layers
    optimizer: str = "sgd"
    dtype: str = "float32"
    steps: int = 100
    learning_rate: float = 1e-5

    @property
    def name(self) -> str:
        """Sizes and rows, as the command line has them."""
        return f"{'-'.join(map(str, self.sizes))}@{self.batch_size}"

    @property
    def flops(self) -> int:
        """Operations in the matrix products of a step, two for each multiply-add; no delta is propagated to the data."""
        products = itertools.pairwise(self.sizes)
        return sum(2 * self.batch_size * n * m * (3 if layer else 2) for layer, (n, m) in enumerate(products))

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x (rows, inputs), normal numbers, and y (rows,), labels of every class if there are rows enough."""
        rng, rows = np.random.default_rng(0), self.steps * self.batch_size
        x = rng.standard_normal((rows, self.sizes[0])).astype(self.dtype)
        return x, rng.permutation(np.arange(rows) % self.sizes[-1])

    def parameters(self) -> Parameters:
        """Return the parameters to begin from: weights of variance 1 / n, biases 0."""
        rng = np.random.default_rng(1)
        return [
            ((rng.standard_normal((m, n)) / n**0.5).astype(self.dtype), np.zeros(m, self.dtype))
            for n, m in itertools.pairwise(self.sizes)
        ]
