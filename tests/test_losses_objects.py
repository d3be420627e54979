"""Losses as objects: names, targets, parameters, and costs of the user's own."""

from dataclasses import replace

import numpy as np
import pytest
from numba import njit
from reference import numbers

import fastbp as fb
from fastbp import kernels, losses
from fastbp.engine import evaluate

NAMES = (
    "softmax_cross_entropy", "negative_log_likelihood", "binary_cross_entropy", "mean_squared_error",
    "mean_absolute_error", "huber", "poisson", "quantile",
)  # fmt: skip
F64 = np.dtype(np.float64)
Z = 0.5 + np.abs(numbers((7, 3), F64))
Z /= Z.sum(axis=1, keepdims=True)  # probabilities, which all costs take
T = np.abs(numbers((7, 3), F64, seed=2))
T /= T.sum(axis=1, keepdims=True)
LABELS = np.arange(7) % 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weights", [None, np.arange(7.0)])
def test_a_loss_gives_what_its_kernel_gives(name, weights):
    cost, delta = getattr(losses, name)(Z, T, weights)
    expected_cost, expected_delta = getattr(kernels, name)(Z, T, None, weights)
    assert cost == expected_cost
    assert delta.tobytes() == expected_delta.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stands_for_its_loss(name):
    assert losses.as_loss(name) is getattr(losses, name)
    assert losses.as_loss(getattr(losses, name)).name == name


@pytest.mark.parametrize("loss", ["mse", "", None, 3, np.mean, fb.Adam()])
def test_an_unknown_loss_lists_the_known(loss):
    with pytest.raises(ValueError, match=r"loss: got .*, expected one of " + ", ".join(NAMES)):
        losses.as_loss(loss)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", "float64", ">i4", "float16"])
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "negative_log_likelihood"])
def test_labels_of_any_dtype(name, dtype):
    cost, delta = getattr(losses, name)(Z, LABELS.astype(dtype))
    expected = getattr(losses, name)(Z, np.eye(3)[LABELS])
    assert cost == pytest.approx(expected[0])
    np.testing.assert_allclose(delta, expected[1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("loss", "y", "error", "message"),
    [
        ("softmax_cross_entropy", LABELS + 1, ValueError, "y: got 3 in row 2, expected integer labels from 0 to 2"),
        ("softmax_cross_entropy", LABELS + 0.5, ValueError, "y: got 0.5 in row 0, expected integer labels"),
        ("softmax_cross_entropy", T[:, :2], ValueError, r"y: got shape \(7, 2\), expected \(7, 3\)"),
        ("mean_squared_error", T[:5], ValueError, r"y: got shape \(5, 3\), expected \(7, 3\)"),
        ("mean_squared_error", LABELS, ValueError, r"y: got shape \(7,\), expected \(7, 3\)"),
        ("mean_squared_error", T.astype(complex), TypeError, "y: got ndarray of dtype complex128"),
        ("huber", None, TypeError, "y: got None"),
    ],
)
def test_targets_that_are_refused(loss, y, error, message):
    with pytest.raises(error, match=message):
        getattr(losses, loss)(Z, y)


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"y: got 6 rows, expected 7"):
        losses.softmax_cross_entropy(Z, LABELS[:6])


def test_label_smoothing_mixes_the_targets_with_even_ones():
    smooth = losses.SoftmaxCrossEntropy(label_smoothing=0.3)
    cost, delta = smooth(Z, LABELS)
    expected_cost, expected_delta = losses.softmax_cross_entropy(Z, 0.7 * np.eye(3)[LABELS] + 0.1)
    assert cost == pytest.approx(expected_cost, rel=1e-12)
    np.testing.assert_allclose(delta, expected_delta, rtol=1e-11, atol=1e-15)
    net = fb.Sequential(fb.Dense(3, 3), dtype="float64")
    assert net.evaluate(Z, LABELS, smooth) == pytest.approx(smooth(net.predict(Z), LABELS)[0], rel=1e-12)


def test_hubers_delta_and_the_quantile_reach_the_cost():
    r = Z - T
    near = np.abs(r) <= 0.2
    assert losses.Huber(0.2)(Z, T)[0] == pytest.approx(np.mean(np.where(near, r**2 / 2, 0.2 * (np.abs(r) - 0.1))))
    assert losses.Quantile(0.9)(Z, T)[0] == pytest.approx(np.mean(np.maximum(-0.9 * r, 0.1 * r)))
    net = fb.Sequential(fb.Dense(3, 3), dtype="float64")
    for loss in (losses.Huber(0.2), losses.Quantile(0.9)):
        assert net.evaluate(Z, T, loss) == pytest.approx(loss(net.predict(Z), T)[0], rel=1e-12)


@pytest.mark.parametrize(
    ("make", "value", "error"),
    [
        (losses.SoftmaxCrossEntropy, 1.0, ValueError), (losses.SoftmaxCrossEntropy, -0.1, ValueError),
        (losses.Huber, 0, ValueError), (losses.Huber, np.inf, ValueError), (losses.Huber, "1", TypeError),
        (losses.Quantile, 0.0, ValueError), (losses.Quantile, 1.0, ValueError), (losses.Quantile, None, TypeError),
    ],
)  # fmt: skip
def test_parameters_out_of_bounds_are_refused(make, value, error):
    with pytest.raises(error, match=r"(label_smoothing|delta|quantile): got"):
        make(value)


def test_losses_are_immutable_and_compare_by_value():
    assert losses.Huber(0.5) == losses.Huber(0.5) != losses.Huber(0.6)
    with pytest.raises(AttributeError):
        losses.huber.parameter = 2.0


@pytest.mark.parametrize("name", NAMES)
def test_a_scale_multiplies_cost_and_derivative(name):
    """A power of two, to the bit; by hand and in a fit, where half the cost at twice the rate is the same training."""
    loss = getattr(losses, name)
    half = replace(loss, scale=0.5)
    (cost, delta), (half_cost, half_delta) = loss(Z, T), half(Z, T)
    assert (half_cost, half_delta.tobytes()) == (0.5 * cost, (0.5 * delta).tobytes())
    fits = []
    for scaled, rate in ((loss, 0.01), (half, 0.02)):
        net = fb.Sequential(fb.Dense(3, 3, "sigmoid", weight_init=np.eye(3)), fb.Dense(3, 3, weight_init=np.eye(3)))
        fits.append((net.fit(Z, T, scaled, fb.SGD(rate), batch_size=4, epochs=2).cost, net))
    assert fits[1][0] == [0.5 * c for c in fits[0][0]]
    np.testing.assert_array_equal(fits[0][1].parameters, fits[1][1].parameters)
    assert fits[1][1].evaluate(Z, T, half) == 0.5 * fits[1][1].evaluate(Z, T, loss)


# ---------------------------------------------------------------------------------------------------- of the user's own


@njit
def squares(output, y):
    return ((output - y) ** 2).mean()


@njit
def squares_delta(output, y, delta):
    delta[:] = 2 * (output - y) / output.size


@njit
def half_of_it(output, y, delta):
    delta[:] = (output - y) / output.size


@njit
def nothing(output, y, delta):
    delta[:] = np.nan


CUSTOM = losses.custom(squares, squares_delta)
X = 4 * numbers((11, 5), F64)
Y = numbers((11, 3), F64, seed=4)


def network(dtype="float64"):
    return fb.Sequential(fb.Dense(5, 4, "tanh"), fb.Dense(4, 3), dtype=dtype, seed=2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weights", [None, np.linspace(0, 1, 11)])
def test_a_custom_loss_trains_as_the_named_one(dtype, weights):
    net, other = network(dtype), network(dtype)
    options = {"optimizer": fb.SGD(0.1), "batch_size": 4, "epochs": 3, "sample_weight": weights}
    costs = net.fit(X, Y, CUSTOM, **options).cost, other.fit(X, Y, "mean_squared_error", **options).cost
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(*costs, rtol=tolerance)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=tolerance, atol=tolerance)


def test_a_custom_loss_evaluates_from_python_and_by_the_verbs():
    net = network()
    expected = net.evaluate(X, Y, "mean_squared_error")
    assert net.evaluate(X, Y, CUSTOM) == pytest.approx(expected, rel=1e-12)
    assert evaluate(net.training(CUSTOM, fb.SGD(0.1), 4), X, Y) == pytest.approx(expected, rel=1e-12)


def test_a_custom_loss_leaves_out_a_minibatch_whose_weights_are_zero():
    weights = np.repeat([0.0, 1.0], [4, 7])
    net, other = network(), network()
    options = {"optimizer": fb.SGD(0.1), "batch_size": 4, "shuffle": False}
    net.fit(X, Y, CUSTOM, sample_weight=weights, **options)
    other.fit(X[4:], Y[4:], CUSTOM, **options)
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_the_gradients_of_a_custom_loss_can_be_checked():
    assert fb.check_gradients(network(), X, Y, CUSTOM) < 1e-7


def test_a_wrong_delta_is_refused_with_its_worst_element():
    with pytest.raises(
        ValueError, match=r"delta_row: got .* for element \d of output .*, expected .*, the central diff"
    ):
        losses.custom(squares, half_of_it)
    with pytest.raises(ValueError, match=r"delta_row: got nan for element 0"):
        losses.custom(squares, nothing)


@pytest.mark.parametrize(("arguments", "name"), [((np.mean, squares_delta), "cost_row"), ((squares, abs), "delta_row")])
def test_functions_that_are_not_compiled_are_refused(arguments, name):
    with pytest.raises(TypeError, match=rf"{name}: got .*, expected a function compiled with @njit"):
        losses.custom(*arguments)
