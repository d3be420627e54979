"""Solvers by scikit-learn's names and hyper-parameters, as optimizers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastbp.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

SOLVERS = ("lbfgs", "sgd", "adam", "adamw", "rmsprop", "adagrad")
LEAST_RATE = 1e-6  # an adaptive learning rate below it ends the fit


@dataclass(frozen=True, repr=False)
class AdamByEpsilonHat(Adam):
    """Adam in the form of the end of section 2 of Kingma and Ba (2015), as scikit-learn has it: epsilon is added to the root
    of the second moment before the correction of its bias."""

    @property
    def numbers(self) -> tuple[float, ...]:
        *numbers, weight_decay = super().numbers
        return (*numbers, 1.0, weight_decay)


def optimizer_of(estimator: Any) -> Optimizer:
    """Return the optimizer that an estimator's `solver` and its hyper-parameters name."""
    e, solver = estimator, estimator.solver
    if isinstance(solver, Optimizer):
        return solver
    if solver == "sgd":
        return SGD(e.learning_rate_init, momentum=e.momentum, nesterov=bool(e.nesterovs_momentum and e.momentum > 0))
    if solver == "adam":
        return AdamByEpsilonHat(e.learning_rate_init, e.beta_1, e.beta_2, e.epsilon)
    if solver == "adamw":
        return AdamW(e.learning_rate_init, e.beta_1, e.beta_2, e.epsilon, weight_decay=e.alpha)
    if solver == "rmsprop":
        return RMSprop(e.learning_rate_init, rho=e.beta_2, epsilon=e.epsilon)
    return Adagrad(e.learning_rate_init, epsilon=e.epsilon)


def has_epochs(estimator: Any) -> bool:
    """Return True where an estimator's solver goes from epoch to epoch; AttributeError where it does not."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


def penalty_of(estimator: Any) -> float:
    """Return alpha where it is part of the cost, else 0: AdamW decays weights apart, an optimizer object by a weight decay of
    its own."""
    return 0.0 if estimator.solver == "adamw" or isinstance(estimator.solver, Optimizer) else float(estimator.alpha)


class Rate:
    """The learning rate of a fit and what becomes of it, epoch after epoch."""

    def __init__(self, estimator: Any):
        self.rule = estimator.learning_rate if estimator.solver == "sgd" else "constant"
        self.initial = estimator.learning_rate_init
        self.power = estimator.power_t
        self.learning_rate = self.initial

    @property
    def settings(self) -> tuple:
        """What a user has chosen: with another choice a rate begins anew."""
        return self.rule, self.initial, self.power

    @property
    def changes(self) -> bool:
        """Whether every epoch has a rate of its own."""
        return self.rule == "invscaling"

    def end_epoch(self, samples: int) -> None:
        """Follow the rule after an epoch; samples: the number of them in all epochs of all fits."""
        if self.rule == "invscaling":
            self.learning_rate = self.initial / (samples + 1) ** self.power

    def give_up(self) -> bool:
        """Return whether a fit that no longer improves should end; if not, the rate is now a fifth of what it was."""
        if self.rule != "adaptive" or self.learning_rate <= LEAST_RATE:
            return True
        self.learning_rate /= 5.0
        return False
