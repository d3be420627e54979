"""`sklearn.callback`, where this version of scikit-learn has it (from 1.9): a task for the fit, and one for each epoch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn knows no callbacks."""

    def with_callbacks(method: Callable) -> Callable:  # type: ignore[misc]
        return method


def has_callbacks(estimator: Any) -> bool:
    """Return whether `set_callbacks` gave the estimator some."""
    return hasattr(estimator, "_skl_callbacks")


class Hooks:
    """The callbacks that `set_callbacks` gave an estimator, while it is fitted."""

    def __init__(self, estimator: Any, epochs: int, X: Any, y: Any, sample_weight: Any):
        self.estimator, self.epochs = estimator, epochs
        self.active = has_callbacks(estimator)
        self.given = {
            "estimator": estimator, "X": X, "y": y,
            "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        }  # fmt: skip

    def begin(self) -> None:
        if self.active:
            self.whole = self.estimator._init_callback_context(max_subtasks=self.epochs)
            self.whole.call_on_fit_task_begin(**self.given)

    def begin_epoch(self) -> None:
        if self.active:
            self.epoch = self.whole.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(**self.given)

    def end_epoch(self) -> bool:
        """Return whether a callback asks to stop."""
        return self.active and self.epoch.call_on_fit_task_end(
            **self.given, reconstruction_attributes=self.copy_weights
        )

    def end(self) -> None:
        if self.active:
            self.whole.call_on_fit_task_end(**self.given, reconstruction_attributes=self.copy_weights)

    def copy_weights(self) -> dict[str, Any]:
        """Return the attributes that let another estimator predict as this one does now."""
        return type(self.estimator).weights_in(copy.deepcopy(self.estimator.network_))
