"""One thread at a time fits an estimator; those that predict meanwhile see its weights of before, or as they are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastbp.parallel.turns import ProcessLock, Turn

HIDDEN = ("_turn", "_weights_lock")  # attributes of an estimator that no copy has


def one_at_a_time(method: Callable) -> Callable:
    """`method` of an estimator; RuntimeError while another thread, or a callback, is within one such method of it."""

    @functools.wraps(method)
    def refusing(estimator: Any, *args: Any, **kws: Any) -> Any:
        turn = estimator.__dict__.setdefault("_turn", Turn("estimator"))  # __init__ may set parameters alone
        weights_lock(estimator)
        with turn.taken(method.__name__):
            return method(estimator, *args, **kws)

    return refusing


def weights_lock(estimator: Any) -> Any:
    """Return the lock of the attributes that show the weights, which change together."""
    return estimator.__dict__.setdefault("_weights_lock", ProcessLock()).here()
