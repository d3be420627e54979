"""The suite's modules, imported as asv imports them."""

import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parents[2] / "asv_benchmarks"


@pytest.fixture(scope="session", autouse=True)
def suite():
    sys.path.insert(0, str(SUITE))
    yield SUITE
    sys.path.remove(str(SUITE))
