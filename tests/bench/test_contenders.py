"""All contenders do the same: from the same parameters, on the same rows, they come to the same parameters."""

from __future__ import annotations

import numpy as np
import pytest

from fastbp.bench.contenders import LIBRARIES, start
from fastbp.bench.workload import Workload

ACTIVATIONS = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}
WORKLOADS = [
    Workload((6, 16, 8, 3), 10, "relu", "sgd", "float32", 40, 0.2),
    Workload((6, 16, 8, 3), 10, "tanh", "adam", "float64", 40, 0.01),
    Workload((4, 8, 3), 16, "sigmoid", "sgd", "float64", 40, 0.5),
    Workload((5, 4), 8, "relu", "adam", "float32", 20, 0.01),
]
PEERS = ("numpy", "sklearn", "torch", "jax")  # torch.compile takes minutes, and is the same function


def cost(work, parameters):
    """Of all rows."""
    a, y = work.data()
    for i, (weight, bias) in enumerate(parameters, 1):
        z = a @ weight.T + bias
        a = ACTIVATIONS[work.activation](z) if i < len(parameters) else z
    logs = a - np.log(np.exp(a).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(y)), y].mean()


def trained(name, work):
    contender = start(name, work)
    contender.run()
    return contender.parameters()


@pytest.mark.parametrize("work", WORKLOADS, ids=str)
@pytest.mark.parametrize("name", PEERS)
def test_as_fastbp(name, work):
    pytest.importorskip(LIBRARIES[name].module)
    tolerance = 5e-6 if work.dtype == "float32" else 1e-13
    if name == "sklearn" and work.optimizer == "adam":
        tolerance = 1e-4  # its epsilon is added before the correction of the second moment's bias
    expected, found = trained("fastbp", work), trained(name, work)
    assert cost(work, found) == pytest.approx(cost(work, expected), rel=tolerance)
    assert cost(work, expected) < cost(work, work.parameters()) - 0.01  # they have learned something
    for (weight, bias), (expected_weight, expected_bias) in zip(found, expected, strict=True):
        assert weight.dtype == bias.dtype == work.dtype
        np.testing.assert_allclose(weight, expected_weight, atol=tolerance)
        np.testing.assert_allclose(bias, expected_bias, atol=tolerance)


@pytest.mark.parametrize("name", ["fastbp", *PEERS])
def test_parameters_at_the_start(name):
    """They are copied, from the workload and to the caller, and a second epoch goes on from the first."""
    pytest.importorskip(LIBRARIES[name].module)
    work = WORKLOADS[0]
    contender = start(name, work)
    first = contender.parameters()
    for pair, given in zip(first, work.parameters(), strict=True):
        for array, expected in zip(pair, given, strict=True):
            np.testing.assert_array_equal(array, expected)
    costs = [cost(work, first)]
    for _ in range(2):
        contender.run()
        costs.append(cost(work, contender.parameters()))
    assert costs[0] > costs[1] > costs[2]
    np.testing.assert_array_equal(first[0][0], work.parameters()[0][0])


def test_scikit_learn_has_another_network_for_two_classes():
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="for two classes it trains a network with one output"):
        start("sklearn", Workload((4, 8, 2), 16))


class TestWorkload:
    def test_flops(self):
        """Three products a layer, but for the first, whose inputs need no delta."""
        assert Workload((5, 7, 3), 10).flops == 2 * 10 * (2 * 5 * 7 + 3 * 7 * 3)

    def test_name(self):
        assert Workload((5, 7, 3), 10).name == "5-7-3@10"

    def test_data(self):
        work = Workload((5, 7, 3), 10, dtype="float64", steps=4)
        x, y = work.data()
        assert (x.shape, x.dtype, y.shape) == ((40, 5), np.float64, (40,))
        assert set(y) == {0, 1, 2}
        np.testing.assert_array_equal(x, work.data()[0])
