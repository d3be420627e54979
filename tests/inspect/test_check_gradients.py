"""check_gradients: every activation with several costs; and it does catch a wrong gradient."""

import numpy as np
import pytest
from reference import numbers

import fastbp as fb

X = 4 * numbers((9, 4), np.dtype(np.float64), seed=3)
LABELS = np.arange(9) % 3
TARGETS = numbers((9, 3), np.dtype(np.float64), seed=8)
SHARES = (np.abs(TARGETS) + 0.1) / (np.abs(TARGETS) + 0.1).sum(axis=1, keepdims=True)
Y = {
    "softmax_cross_entropy": LABELS, "binary_cross_entropy": (TARGETS > 0).astype(float), "mean_squared_error": TARGETS,
    "mean_absolute_error": TARGETS, "huber": 5 * TARGETS, "poisson": np.abs(TARGETS), "quantile": TARGETS,
}  # fmt: skip


def network(activation="tanh", last="identity", dtype="float64", bias=True):
    biases = numbers((6,), np.dtype(np.float64), seed=4)  # with 0, a row that no relu lets pass would meet the edge
    layers = fb.Dense(4, 5, activation, bias), fb.Dense(5, 6, activation, bias_init=biases), fb.Dense(6, 3, last)
    return fb.Sequential(*layers, dtype=dtype)


@pytest.mark.parametrize("activation", fb.activations.names)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error", "huber"])
def test_every_activation(activation, loss):
    assert fb.check_gradients(network(activation), X, Y[loss], loss, samples=1000) < 1e-7


@pytest.mark.parametrize("activation", fb.activations.names)
def test_every_activation_of_the_last_layer(activation):
    """`backward` takes dC/d(output) and applies the last derivative itself."""
    assert fb.check_gradients(network(last=activation), X, TARGETS, "mean_squared_error", samples=1000) < 1e-7


@pytest.mark.parametrize("loss", Y)
@pytest.mark.parametrize("bias", [True, False])
def test_every_cost(loss, bias):
    assert fb.check_gradients(network(bias=bias), X, Y[loss], loss, samples=1000) < 1e-7


def test_the_likelihood_of_probabilities():
    net = network(last="sigmoid")
    assert fb.check_gradients(net, X, LABELS, "negative_log_likelihood", samples=1000) < 1e-7
    assert fb.check_gradients(net, X, SHARES, "negative_log_likelihood", samples=1000) < 1e-7


@pytest.mark.parametrize("loss", [fb.losses.SoftmaxCrossEntropy(0.2), fb.losses.Huber(0.1), fb.losses.Quantile(0.9)])
def test_costs_with_a_parameter(loss):
    assert fb.check_gradients(network(), X, Y[loss.name], loss, samples=1000) < 1e-7


def test_a_network_of_float32_is_checked_more_roughly():
    assert fb.check_gradients(network(dtype="float32"), X, LABELS, "softmax_cross_entropy") < 1e-2


def test_the_parameters_are_left_as_they_were():
    net = network()
    before = net.parameters.copy()
    fb.check_gradients(net, X, LABELS, "softmax_cross_entropy", samples=1000)
    assert net.parameters.tobytes() == before.tobytes()


@pytest.mark.parametrize("factor", [0.0, 1.01, -1.0])
def test_a_wrong_gradient_is_caught(factor, monkeypatch):
    right = fb.Sequential.backward

    def wrong(net, delta, **options):
        right(net, delta, **options)
        net.gradients[7] = factor * net.gradients[7] + 1e-3

    monkeypatch.setattr(fb.Sequential, "backward", wrong)
    assert fb.check_gradients(network(), X, LABELS, "softmax_cross_entropy", samples=1000) > 1e-4
