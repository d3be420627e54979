"""What a fit leaves behind epoch by epoch, in the attributes by which scikit-learn's estimators show it."""

from __future__ import annotations

from typing import Any

import numpy as np


class Records:
    """Writes the attributes of an estimator that tell of its epochs."""

    def __init__(self, estimator: Any):
        self.e = estimator

    def begin(self, first: bool, validated: bool) -> None:
        """Begin anew in a first fit, and with what the fits before had no use for; lists get an entry an epoch."""
        e = self.e
        known = vars(e) if not first else {}
        if "loss_curve_" not in known:
            e.loss_curve_ = []
        if "validation_loss_curve_" not in known:
            e.validation_loss_curve_ = None
        unknown = [float("nan")] * len(e.loss_curve_)
        if validated and e.validation_loss_curve_ is None:
            e.validation_loss_curve_ = [*unknown]
        if "best_loss_" not in known or e.early_stopping != (e.best_loss_ is None):
            self.stale = 0
            e.best_loss_ = None if e.early_stopping else np.inf
            e.validation_scores_ = [*unknown] if e.early_stopping else None
            e.best_validation_score_ = -np.inf if e.early_stopping else None

    @property
    def stale(self) -> int:
        """The number of epochs since the last one that was better than the best before it by more than tol."""
        return self.e._no_improvement_count

    @stale.setter
    def stale(self, epochs: int) -> None:
        self.e._no_improvement_count = epochs

    def note_epoch(self, loss: float, validation_loss: float | None, samples: int) -> None:
        """Add an epoch that went over that number of samples."""
        e = self.e
        e.n_iter_ += 1
        e.t_ += samples
        e.loss_ = loss
        e.loss_curve_.append(loss)
        if e.validation_loss_curve_ is not None:
            e.validation_loss_curve_.append(float("nan") if validation_loss is None else validation_loss)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {loss:.8f}")

    def judge_loss(self, loss: float) -> None:
        """Compare the loss of an epoch with the best so far."""
        if self.is_better(loss, self.e.best_loss_):
            self.e.best_loss_ = loss

    def judge_score(self, score: float) -> bool:
        """Add the score of an epoch on the validation data; return whether it is the best so far."""
        e = self.e
        e.validation_scores_.append(score)
        if e.verbose:
            print(f"Validation score: {score:f}")
        better = self.is_better(-score, -e.best_validation_score_)
        if better:
            e.best_validation_score_ = score
        return better

    def is_better(self, cost: float, best: float) -> bool:
        """Return whether a cost is less than the best so far, and count the epoch as stale unless it is so by more than tol."""
        self.stale = self.stale + 1 if cost > best - self.e.tol else 0
        return cost < best

    def note_divergence(self) -> None:
        """Add an epoch whose loss was not finite."""
        e, nan = self.e, float("nan")
        e.n_iter_, e.loss_ = e.n_iter_ + 1, nan
        e.loss_curve_.append(nan)
        if e.early_stopping:
            e.validation_scores_.append(nan)
