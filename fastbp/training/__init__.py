"""`fit`, and what it consists of: epochs over rows or minibatches, many networks at once, the history."""

from fastbp.training.history import History
from fastbp.training.loop import fit

__all__ = ["History", "fit"]
