"""Activations by name, by code, and of the user's own."""

import math

import numpy as np
import pytest
from numba import njit
from reference import FUNCTIONS, numbers

import fastbp as fb

X = 6 * numbers((9, 4), np.dtype(np.float64))


def network(activation, dtype="float64"):
    return fb.Sequential(fb.Dense(4, 5, activation), fb.Dense(5, 3), dtype=dtype)


def test_names_are_in_the_order_of_their_codes():
    assert fb.activations.names == tuple(FUNCTIONS)
    for code, name in enumerate(fb.activations.names):
        assert getattr(fb.Activation, name.upper()) == code


def test_codes_are_plain_ints_legal_in_njit_code():
    assert type(fb.Activation.RELU) is int

    @njit
    def relu(z):
        return fb.kernels.activate(z, fb.Activation.RELU)

    np.testing.assert_array_equal(relu(X), np.maximum(X, 0))


@pytest.mark.parametrize("name", fb.activations.names)
def test_a_layer_applies_the_activation_of_its_name_and_of_its_code(name):
    layer = fb.Dense(4, 4, name, weight_init=np.eye(4), dtype="float64")
    out = layer.forward(X)
    np.testing.assert_allclose(out, FUNCTIONS[name](X), rtol=1e-13, atol=1e-15)
    code = np.int32(fb.activations.names.index(name))
    by_code = fb.Dense(4, 4, code, weight_init=np.eye(4), dtype="float64")
    assert by_code.forward(X).tobytes() == out.tobytes()


@pytest.mark.parametrize("activation", ["Relu", "", 13, -1, True, 1.0, None, np.tanh, fb.Dense])
def test_an_unknown_activation_lists_the_known(activation):
    with pytest.raises(
        ValueError, match=r"activation: got .*, expected one of identity, relu, .*, or fb.activations.custom"
    ):
        fb.Dense(4, 4, activation)


def test_softmax_is_refused_with_advice():
    with pytest.raises(ValueError, match="expected 'identity' for a last layer of logits"):
        fb.Dense(4, 4, "softmax")


# ---------------------------------------------------------------------------------------------------- of the user's own


@njit
def bent(z):
    return math.sqrt(z * z + 1) - 1 + z


@njit
def bent_derivative(z):
    return z / math.sqrt(z * z + 1) + 1


@njit
def squashed(z):
    return math.tanh(z)


@njit
def squashed_derivative(y):
    return 1 - y * y


@njit
def wrong_beyond_two(z):
    return z / math.sqrt(z * z + 1) + (1 if z < 2 else 2)


@njit
def not_a_number(z):
    return math.nan


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_custom_activation_works_forward_and_backward(dtype):
    net = network(fb.activations.custom(bent, bent_derivative), dtype)
    x = X.astype(dtype)
    z = x @ net.layers[0].weight.T
    hidden = np.sqrt(z * z + 1) - 1 + z
    np.testing.assert_allclose(net.predict(x), hidden @ net.layers[1].weight.T, rtol=1e-4, atol=1e-5)
    y = np.arange(9) % 3
    if dtype == "float64":
        assert fb.check_gradients(net, x, y, "softmax_cross_entropy") < 1e-7
    history = net.fit(x, y, optimizer=fb.Adam(0.05), epochs=20)
    assert history.cost[-1] < history.cost[0]


def test_a_derivative_from_the_output_gives_what_the_named_one_gives():
    custom = network(fb.activations.custom(squashed, squashed_derivative, from_output=True))
    named = network("tanh")
    y = np.arange(9) % 3
    assert fb.check_gradients(custom, X, y, "softmax_cross_entropy") < 1e-7
    for net in (custom, named):
        net.fit(X, y, optimizer=fb.SGD(0.1), epochs=5)
    np.testing.assert_allclose(custom.parameters, named.parameters, rtol=1e-10)


def test_a_custom_activation_before_dropout_and_as_the_last_layer():
    last = fb.activations.custom(bent, bent_derivative)
    net = fb.Sequential(fb.Dense(4, 5, last), fb.Dropout(0.0), fb.Dense(5, 3, last), dtype="float64")
    assert fb.check_gradients(net, X, X[:, :3], "mean_squared_error") < 1e-7


def test_a_wrong_derivative_is_refused_with_its_worst_point():
    with pytest.raises(
        ValueError, match=r"derivative: got 2\.\d+ at z = \d\.\d+, expected 1\.\d+, the central difference"
    ):
        fb.activations.custom(bent, wrong_beyond_two)
    with pytest.raises(ValueError, match=r"derivative: got .* at z = "):  # it takes the output, not z
        fb.activations.custom(squashed, squashed_derivative)
    with pytest.raises(ValueError, match=r"derivative: got nan at z = "):
        fb.activations.custom(bent, not_a_number)


@pytest.mark.parametrize(("f", "derivative", "name"), [(math.tanh, bent, "f"), (bent, lambda z: 1.0, "derivative")])
def test_functions_that_are_not_compiled_are_refused(f, derivative, name):
    with pytest.raises(TypeError, match=rf"{name}: got .*, expected a function compiled with @njit"):
        fb.activations.custom(f, derivative)


def test_the_same_functions_registered_again_are_the_same_activation_cost_and_operation():
    custom = fb.activations.custom(bent, bent_derivative)
    assert fb.activations.custom(bent, bent_derivative) is custom
    assert fb.activations.custom(squashed, squashed_derivative, True) is not custom

    @njit
    def cost(output, y):
        return ((output - y) ** 2).sum()

    @njit
    def cost_delta(output, y, delta):
        delta[:] = 2 * (output - y)

    assert fb.losses.custom(cost, cost_delta) is fb.losses.custom(cost, cost_delta)

    @njit
    def forward(x, parameters, out):
        out[:] = x

    @njit
    def backward(delta, x, out, parameters, gradients, delta_x):
        delta_x[:] = delta

    first, again = (fb.Custom(width, width, forward, backward) for width in (3, 4))
    addresses = [layer.operation("float32")[:2] for layer in (first, again)]  # of the codes of forward and backward
    assert addresses[0] == addresses[1]


def test_a_custom_activation_shows_its_name():
    custom = fb.activations.custom(bent, bent_derivative)
    assert repr(custom) == "custom(bent)"
    assert "bent" in repr(fb.Dense(2, 2, custom))
