"""A comparison that was never made."""

import pytest

from fastbp.bench.comparison import Comparison, Result
from fastbp.bench.machine import Machine
from fastbp.bench.workload import Workload


@pytest.fixture
def found():
    machine = Machine("Abacus 9", "Linux x86_64", 2, "float32", 190e9, 100e9)
    small = Result(Workload((4, 8, 2), 32), 1e-6, {"fastbp": 4e-6, "numpy": 32e-6, "torch": 100e-6})
    small.faults = {"sklearn": "ValueError: two", "jax": "not installed"}
    large = Result(Workload((784, 512, 10), 128), 1e-3, {"fastbp": 1.25e-3, "numpy": 2.5e-3, "sklearn": 4e-3})
    large.faults = {"torch": "MemoryError: ", "jax": "not installed"}
    return Comparison(
        machine, {"fastbp": "1.0", "numpy": "2.0"}, ("fastbp", "numpy", "sklearn", "torch", "jax"), [small, large]
    )
