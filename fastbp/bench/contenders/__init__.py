"""The contenders: each trains a Workload the way that is fastest for a user of its library, which its module alone imports.

They are functions (work, parameters, x, y) -> Contender, which copy the parameters they begin from.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

from fastbp.bench.workload import Parameters, Workload

ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


class Contender(NamedTuple):
    """A network in training: `run` trains it for an epoch, once over the rows; `parameters` copies what it has become."""

    run: Callable[[], object]
    parameters: Callable[[], Parameters]


class Library(NamedTuple):
    """A contender's title in tables, the names its library is imported and installed by, and its function here."""

    title: str
    module: str
    distribution: str
    function: str


LIBRARIES = {
    "fastbp": Library("fastbp", "fastbp", "fastbp", "with_fastbp.fit"),
    "numpy": Library("NumPy", "numpy", "numpy", "with_numpy.minibatches"),
    "sklearn": Library("scikit-learn", "sklearn", "scikit-learn", "with_sklearn.mlp"),
    "torch": Library("PyTorch", "torch", "torch", "with_torch.eager"),
    "jax": Library("JAX", "jax", "jax", "with_jax.scan"),
    "torch.compile": Library("torch.compile", "torch", "torch", "with_torch.compiled"),
}


def start(name: str, work: Workload) -> Contender:
    """Return the contender of that name, ready to train."""
    module, function = LIBRARIES[name].function.split(".")
    make = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return make(work, work.parameters(), *work.data())
