"""What `fit` measures after each epoch: the cost on validation data, and metrics, functions metric(y, output) -> float.

A metric with a name is made for a cost, a last layer and a y, so that it means what its name says; or it is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fastbp.data.scores import largest_is_right, same_sides
from fastbp.losses import CustomLoss, Loss
from fastbp.network.network import Network
from fastbp.network.samples import Evaluation, Samples
from fastbp.training.history import History

Metric = Callable[[np.ndarray, np.ndarray], float]
BOUNDED_BELOW = ("sigmoid", "hard_sigmoid", "softplus", "relu")  # last activations that never reach -1


def as_metrics(metrics: Any) -> dict[str, Any]:
    """Return metrics by name, in the form that `for_samples` takes, from names and functions metric(y, output) -> float."""
    found: dict[str, Any] = {}
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Iterable):
        raise TypeError(f"metrics: got {metrics!r}, expected names or functions (y, output)")
    for metric in metrics:
        if isinstance(metric, str) and metric in METRICS:
            found[metric] = METRICS[metric]
        elif metric in METRICS.values():
            found[metric.__name__] = metric
        elif callable(metric):
            found[getattr(metric, "__name__", repr(metric))] = lambda loss, activation, y, metric=metric: metric
        else:
            raise ValueError(
                f"metrics: got {metric!r}, expected one of {', '.join(METRICS)}, or a function (y, output)"
            )
    return found


def for_samples(metrics: dict[str, Any], loss: Loss, activation: Any, y: np.ndarray) -> dict[str, Metric]:
    """Return the functions that measure outputs of a last layer with that activation, trained with `loss`, against y;
    ValueError for a metric that would say something else than its name."""
    return {name: make(loss, activation, y) for name, make in metrics.items()}


class Measures:
    """What a fit measures after each epoch: the cost on the validation data, and metrics on these or else on `samples`."""

    def __init__(
        self, net: Network, loss: Loss, validation: Evaluation | None, metrics: dict[str, Any], samples: Samples | None
    ):
        self.net, self.validation = net, validation
        self.samples = samples if validation is None else validation.samples
        self.metrics: dict[str, Metric] = {}
        if metrics:
            assert self.samples is not None
            self.metrics = for_samples(metrics, loss, net.layers[-1].activation, self.samples.y)

    @property
    def series(self) -> list[str]:
        """The names of all that the history will hold."""
        validated = [] if self.validation is None else ["validation_cost"]
        return ["cost", *validated, *self.metrics, "learning_rate", "seconds"]

    @property
    def settings(self) -> dict[str, Any]:
        """What a checkpoint compares."""
        rows = 0 if self.validation is None else len(self.validation.samples)
        return {"metrics": self.metrics, "validation_rows": rows}

    def measure(self, history: History) -> None:
        """Add to the history what the network gives now."""
        if self.validation is not None:
            history.validation_cost.append(self.validation.cost())
        if self.metrics:
            assert self.samples is not None
            output = self.net.predict(self.samples.x)
            for name, metric in self.metrics.items():
                history.metrics.setdefault(name, []).append(float(metric(self.samples.y, output)))


# ----------------------------------------------------------------------------------------------------------- accuracy


def accuracy(loss: Loss, activation: Any, y: np.ndarray) -> Metric:
    """Return the share of samples that are classified right.

    Of classes the largest output is that of the label, of the largest number in a row of y. With binary_cross_entropy all
    outputs of a sample are on the right side of 0, y on that of 1/2. With costs of numbers a single output is nearest to its y,
    all of which are 0 and 1, or -1 and 1; rows of several are one-hot.
    """
    if loss.takes_labels:
        return largest_is_right
    if loss.name == "binary_cross_entropy":
        return same_sides
    codes = codes_of(y, activation)
    if y.shape[1] > 1 and codes is not None and ((y == 1).sum(axis=1) == 1).all():
        return largest_is_right
    if loss.name == "poisson" or (isinstance(loss, CustomLoss) and activation not in (*BOUNDED_BELOW, "tanh")):
        raise ValueError(
            f"metrics: got 'accuracy' with {loss.name}, whose outputs do not tell which class they mean, expected a "
            "function (y, output)"
        )
    if y.shape[1] > 1 or codes is None:
        raise ValueError(
            f"metrics: got 'accuracy' with {loss.name} and a y that names no classes, expected y of 0 and 1 or of -1 and 1 for "
            "one output, one-hot rows for several, or another metric: 'mean_absolute_error' for numbers, a function (y, output)"
        )
    if codes[0] == -1 and activation in BOUNDED_BELOW:
        raise ValueError(
            f"metrics: got 'accuracy' with y of -1 and 1 after a last layer with {activation}, which gives no number below 0, "
            "expected y of 0 and 1"
        )
    middle = sum(codes) / 2
    return functools.partial(same_sides, of_output=middle, of_y=middle)


def codes_of(y: np.ndarray, activation: Any) -> tuple[int, int] | None:
    """Return what y (rows, columns) names two classes by: (0, 1) or (-1, 1); None if it is neither."""
    for low in (-1, 0) if activation == "tanh" else (0, -1):  # which matters where all are 1
        if ((y == low) | (y == 1)).all():
            return low, 1
    return None


# ------------------------------------------------------------------------------------------------ mean absolute error


def mean_absolute_error(loss: Loss, activation: Any, y: np.ndarray) -> Metric:
    """Return the mean of |prediction - y|; the prediction is the output, with poisson exp(output), with
    binary_cross_entropy sigmoid(output)."""
    if loss.takes_labels:
        raise ValueError(
            f"metrics: got 'mean_absolute_error' with {loss.name}, whose outputs are no predictions of y, expected 'accuracy' "
            "or a function (y, output)"
        )
    prediction = PREDICTIONS.get(loss.name, np.asarray)
    return lambda y, output: float(np.mean(np.abs(prediction(output) - y.reshape(output.shape))))


def sigmoid(output: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * output)


PREDICTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"poisson": np.exp, "binary_cross_entropy": sigmoid}
METRICS: dict[str, Callable[[Loss, Any, np.ndarray], Metric]] = {
    "accuracy": accuracy, "mean_absolute_error": mean_absolute_error,
}  # fmt: skip
