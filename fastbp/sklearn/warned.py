"""What the estimators warn of, by the name of scikit-learn's module, so that a filter for its warnings meets these too."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.optimize import _check_optimize_result


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, as scikit-learn's multi-layer perceptrons do."""
    warnings.warn(message, category, stacklevel=1)


def as_one_column(y: Any) -> np.ndarray:
    """y (rows,) of a column y (rows, 1), with a warning."""
    return column_or_1d(y, warn=True)


def iterations_of(result: Any, max_iter: int) -> int:
    """Return the iterations that L-BFGS made, with a warning where it has not converged."""
    return _check_optimize_result("lbfgs", result, max_iter)


# Python asks the globals of the function that warns for the module's name, which a filter's `module` is compared with.
__name__ = "sklearn.neural_network._multilayer_perceptron"
