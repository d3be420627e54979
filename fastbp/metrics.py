"""What `fit` measures beside the cost: functions metric(y, output) -> float, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(y: np.ndarray, output: np.ndarray) -> float:
    """The share of samples whose largest output is that of their class; of a single output, on the right side of 0."""
    if output.shape[1] == 1:
        return float(np.mean((output[:, 0] > 0) == (np.asarray(y).reshape(-1) > 0.5)))
    labels = y if y.ndim == 1 else np.argmax(y, axis=1)
    return float(np.mean(np.argmax(output, axis=1) == labels))


def mean_absolute_error(y: np.ndarray, output: np.ndarray) -> float:
    """The mean of |output - y|."""
    return float(np.mean(np.abs(output - y)))


METRICS: dict[str, Metric] = {"accuracy": accuracy, "mean_absolute_error": mean_absolute_error}


def as_metrics(metrics: Any) -> dict[str, Metric]:
    """Metrics by name, from names and functions metric(y, output) -> float."""
    found: dict[str, Metric] = {}
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Iterable):
        raise TypeError(f"metrics: got {metrics!r}, expected names or functions (y, output)")
    for metric in metrics:
        if isinstance(metric, str) and metric in METRICS:
            found[metric] = METRICS[metric]
        elif callable(metric):
            found[getattr(metric, "__name__", repr(metric))] = metric
        else:
            raise ValueError(
                f"metrics: got {metric!r}, expected one of {', '.join(METRICS)}, or a function (y, output)"
            )
    return found
