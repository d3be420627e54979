"""Checks of what is no array: the sentences, and what optional libraries are asked for by."""

import numpy as np
import pytest
from numba import njit

from fastbp.checks import missing, njit_function, one_each, require, same_derivative


@pytest.mark.parametrize("value", [3, "3", None])
def test_one_value_is_converted_once_for_all(value):
    converted = []
    found = one_each("n", value, 2, "network", converted.append)
    assert (found, converted) == ([None, None], [value])


@pytest.mark.parametrize("values", [[1, 2], (1, 2), np.array([1, 2])])
def test_each_of_a_list_is_converted(values):
    assert one_each("n", values, 2, "network", float) == [1.0, 2.0]
    with pytest.raises(ValueError, match="n: got 2 entries, expected one value or 3, one for each hidden layer"):
        one_each("n", values, 3, "hidden layer", float)


def test_a_function_is_compiled_with_njit():
    compiled = njit(lambda x: x)
    assert njit_function("f", compiled) is compiled
    with pytest.raises(TypeError, match="f: got <built-in function abs>, expected a function compiled with @njit"):
        njit_function("f", abs)


@pytest.mark.parametrize(
    ("given", "worst"), [([1.0, 2.0, 1e4 + 0.5], None), ([1.0, 2.1, 9e3], 2), ([1.0, np.nan, 0.0], 1)]
)
def test_derivatives_are_compared_relative_to_large_ones(given, worst):
    measured, places = np.array([1.0, 2.0, 1e4]), ["here", "there", "elsewhere"]
    if worst is None:
        same_derivative("d", np.array(given), measured, "f", places)
        return
    expected = f"{measured[worst]:.6g}"
    with pytest.raises(
        ValueError, match=f"d: got .* {places[worst]}, expected {expected}, the central difference of f"
    ):
        same_derivative("d", np.array(given), measured, "f", places)


def test_an_optional_library_is_imported_or_named():
    assert require("numpy.linalg", "this needs NumPy", "nothing") is np.linalg
    with pytest.raises(ImportError, match=r"^this needs nonsense: pip install 'fastbp\[more\]'$") as found:
        require("nonsense_that_nobody_has", "this needs nonsense", "more")
    assert isinstance(found.value.__cause__, ModuleNotFoundError)
    assert str(missing("a", "b")) == "a: pip install 'fastbp[b]'"
