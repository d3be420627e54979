"""Layers: initial parameters, views of the flat vectors, use alone."""

import numpy as np
import pytest
from numba import njit
from reference import numbers

import fastbp as fb

SCHEMES = {"glorot": lambda n, m: 2 / (n + m), "he": lambda n, m: 2 / n, "lecun": lambda n, m: 1 / n}


def weights(scheme, n=300, m=200, seed=0, dtype="float64"):
    return fb.Dense(n, m, weight_init=scheme, dtype=dtype, seed=seed).weight


# --------------------------------------------------------------------------------------------------- initial parameters


@pytest.mark.parametrize("scheme", SCHEMES)
def test_uniform_schemes_have_their_bounds_and_moments(scheme):
    w, variance = weights(f"{scheme}_uniform"), SCHEMES[scheme](300, 200)
    assert 0.999 < np.abs(w).max() / np.sqrt(3 * variance) <= 1
    assert abs(w.mean()) < 5 * np.sqrt(variance / w.size)
    assert w.var() == pytest.approx(variance, rel=0.03)
    assert np.mean(w**4) == pytest.approx(9 / 5 * variance**2, rel=0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_normal_schemes_have_their_moments(scheme):
    w, variance = weights(f"{scheme}_normal"), SCHEMES[scheme](300, 200)
    assert abs(w.mean()) < 5 * np.sqrt(variance / w.size)
    assert w.var() == pytest.approx(variance, rel=0.03)
    assert np.mean(w**4) == pytest.approx(3 * variance**2, rel=0.06)
    assert 3.5 < np.abs(w).max() / np.sqrt(variance) < 6


def test_the_default_is_glorot_uniform_with_biases_of_zero():
    layer = fb.Dense(5, 3, seed=4)
    np.testing.assert_array_equal(layer.weight, weights("glorot_uniform", 5, 3, 4, "float32"))
    assert not layer.bias.any()


def test_the_same_seed_gives_the_same_weights_and_another_others():
    assert weights("he_normal", seed=1).tobytes() == weights("he_normal", seed=1).tobytes()
    assert abs(np.corrcoef(weights("he_normal", seed=1).ravel(), weights("he_normal", seed=2).ravel())[0, 1]) < 0.03


def test_layers_of_one_network_differ():
    net = fb.Sequential(fb.Dense(50, 50), fb.Dense(50, 50), fb.Dense(50, 50))
    first, *others = (layer.weight.ravel() for layer in net.layers)
    for other in others:
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.1


def test_float32_weights_are_float64_ones_rounded():
    np.testing.assert_array_equal(weights("he_normal", dtype="float32"), weights("he_normal").astype(np.float32))


def test_given_arrays_are_copied_in():
    w, b = numbers((3, 5), np.dtype(np.float64)), [1, 2, 3]
    layer = fb.Dense(5, 3, weight_init=w, bias_init=b, dtype="float64")
    kept = w.copy()
    np.testing.assert_array_equal(layer.weight, kept)
    np.testing.assert_array_equal(layer.bias, b)
    w[:] = 0
    np.testing.assert_array_equal(layer.weight, kept)
    assert not fb.Dense(5, 3, weight_init="zeros").weight.any()


ERRORS = {
    "inputs": ((0, 3), {}, ValueError, "inputs: got 0, expected an integer >= 1"),
    "inputs of text": (("5", 3), {}, TypeError, "inputs: got '5'"),
    "outputs": ((5, 2.5), {}, TypeError, "outputs: got 2.5"),
    "activation": (
        (5, 3),
        {"activation": "rely"},
        ValueError,
        "activation: got 'rely', expected one of identity, relu",
    ),
    "bias": ((5, 3), {"bias": "no"}, TypeError, "bias: got 'no', expected True or False"),
    "scheme": ((5, 3), {"weight_init": "xavier"}, ValueError, "weight_init: got 'xavier', expected an array or one of"),
    "shape": ((5, 3), {"weight_init": np.ones((5, 3))}, ValueError, r"weight_init: got shape (5, 3), expected (3, 5)"),
    "NaN": ((5, 1), {"weight_init": [[1, 2, 3, 4, np.nan]]}, ValueError, "weight_init: got NaN or infinity"),
    "dtype": ((5, 1), {"weight_init": [["a"] * 5]}, TypeError, "weight_init: got dtype <U1, expected real numbers"),
    "complex": ((5, 1), {"weight_init": np.ones((1, 5), complex)}, TypeError, "weight_init: got dtype complex128"),
    "bias_init": ((5, 3), {"bias_init": [1, 2]}, ValueError, "bias_init: got shape (2,), expected (3,)"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_a_dense_layer_refuses(name):
    arguments, options, error, message = ERRORS[name]
    with pytest.raises(error) as caught:
        fb.Dense(*arguments, **options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("options", [{"dtype": "float16"}, {"dtype": "int8"}, {"dtype": "x"}, {"seed": -1}])
def test_a_layer_alone_checks_dtype_and_seed(options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"{name}: got"):
        fb.Dense(5, 3, **options).forward(np.ones((1, 5)))


# ---------------------------------------------------------------------------------------------------------------- alone


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["identity", "tanh", "gelu"])
def test_a_layer_alone_against_central_differences(activation, bias):
    """Of C = sum(g * forward(x)): dC/dx, dC/dw and dC/db."""
    layer = fb.Dense(4, 3, activation, bias, bias_init=[0.1, -0.2, 0.3], dtype="float64", seed=5)
    x, g = 3 * numbers((6, 4), np.dtype(np.float64)), numbers((6, 3), np.dtype(np.float64), seed=2)

    def difference(array, i, h=1e-5):
        costs, was = [], array.flat[i]
        for sign in (1, -1):
            array.flat[i] = was + sign * h
            costs.append(np.sum(g * layer.forward(x)))
        array.flat[i] = was
        return (costs[0] - costs[1]) / (2 * h)

    layer.forward(x)
    pairs = [(x, layer.backward(g)), (layer.weight, layer.weight_gradient.copy())]
    if bias:
        pairs.append((layer.bias, layer.bias_gradient.copy()))
    for array, gradient in pairs:
        measured = [difference(array, i) for i in range(array.size)]
        np.testing.assert_allclose(gradient.ravel(), measured, rtol=1e-8, atol=1e-9)


def test_a_layer_alone_computes_what_it_says():
    layer = fb.Dense(4, 3, "relu", bias_init=[0.1, -0.2, 0.3])
    x = numbers((6, 4), np.dtype(np.float32))
    np.testing.assert_allclose(layer.forward(x), np.maximum(x @ layer.weight.T + layer.bias, 0), rtol=1e-5, atol=1e-7)
    assert layer.forward(x).dtype == np.float32


def test_a_layer_of_a_larger_network_is_not_used_alone():
    net = fb.Sequential(fb.Dense(4, 3), fb.Dense(3, 2))
    for call in (net.layers[0].forward, net.layers[0].backward):
        with pytest.raises(ValueError, match=r"layer: (forward|backward) is for a layer alone"):
            call(np.ones((2, 4)))


def test_a_layer_belongs_to_one_network():
    layer = fb.Dense(3, 3)
    with pytest.raises(ValueError, match=r"layers: got Dense.* at place 1 a second time"):
        fb.Sequential(layer, layer)
    fb.Sequential(layer)
    alone = fb.Dense(3, 3)
    alone.forward(np.ones((1, 3)))
    for taken in (layer, alone):
        with pytest.raises(ValueError, match=r"layers: got Dense.* at place 1 a second time"):
            fb.Sequential(fb.Dense(3, 3), taken)


def test_a_refused_network_leaves_its_layers_free():
    layers = fb.Dense(3, 3), fb.Dense(4, 3)
    with pytest.raises(ValueError, match=r"layers: got"):
        fb.Sequential(*layers)
    assert fb.Sequential(layers[0]).predict(np.ones((1, 3))).shape == (1, 3)


# ---------------------------------------------------------------------------------------------------------------- views


def test_weights_and_gradients_are_views_of_the_flat_vectors():
    net = fb.Sequential(fb.Dense(4, 3), fb.Dense(3, 2, bias=False), dtype="float64")
    first, second = net.layers
    parts = [first.weight.T, first.bias, second.weight]
    for part in parts:
        assert np.shares_memory(part, net.parameters)
    np.testing.assert_array_equal(np.concatenate([part.ravel() for part in parts]), net.parameters)
    gradients = [first.weight_gradient.T, first.bias_gradient, second.weight_gradient]
    net.gradients[:] = np.arange(net.gradients.size)
    np.testing.assert_array_equal(np.concatenate([g.ravel() for g in gradients]), net.gradients)
    assert second.bias is None
    assert second.bias_gradient is None
    first.weight[1, 2] = 7
    assert net.parameters[7] == 7


def test_assigning_copies_in():
    layer = fb.Dense(4, 3)
    view, values = layer.weight, np.arange(12.0).reshape(3, 4)
    layer.weight, layer.bias = values, [1, 2, 3]
    values[:] = 0
    np.testing.assert_array_equal(view, np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(layer.bias, [1, 2, 3])
    assert layer.weight.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "values", "error", "message"),
    [
        ("weight", np.ones((4, 3)), ValueError, r"weight: got shape \(4, 3\), expected \(3, 4\)"),
        ("weight", np.full((3, 4), np.inf), ValueError, "weight: got NaN or infinity"),
        ("weight", "zeros", TypeError, "weight: got dtype <U5"),
        ("bias", [1, 2], ValueError, r"bias: got shape \(2,\), expected \(3,\)"),
    ],
)
def test_a_refused_assignment_changes_nothing(name, values, error, message):
    layer = fb.Dense(4, 3)
    before = layer.owner().parameters.copy()
    with pytest.raises(error, match=message):
        setattr(layer, name, values)
    np.testing.assert_array_equal(layer.owner().parameters, before)


def test_a_layer_without_biases_refuses_some():
    layer = fb.Dense(4, 3, bias=False)
    with pytest.raises(ValueError, match=r"bias: got an assignment, expected none"):
        layer.bias = [1, 2, 3]


def test_how_layers_show():
    assert repr(fb.Dense(4, 3, "relu")) == "Dense(4, 3, activation='relu')"
    assert repr(fb.Dense(4, 3, bias=False)) == "Dense(4, 3, activation='identity', bias=False)"
    assert repr(fb.Dropout(0.5)) == "Dropout(0.5)"


# ---------------------------------------------------------------------------------------------------- of the user's own


@njit
def scale(x, parameters, out):
    for k in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[k, j] = x[k, j] * parameters[j]


@njit
def scale_backward(delta, x, out, parameters, gradients, delta_x):
    gradients[:] = 0
    for k in range(x.shape[0]):
        for j in range(x.shape[1]):
            gradients[j] += delta[k, j] * x[k, j]
            delta_x[k, j] = delta[k, j] * parameters[j]


@pytest.mark.parametrize("below", ["tanh", "gelu"])
def test_operations_of_the_users_own_train_first_and_between(below):
    def scaled(n):
        return fb.Custom(n, n, scale, scale_backward, np.full(n, 1.5))

    net = fb.Sequential(scaled(7), fb.Dense(7, 9, below), scaled(9), fb.Dense(9, 3), dtype="float64")
    x, y = np.random.default_rng(0).standard_normal((40, 7)), np.arange(40) % 3
    assert fb.check_gradients(net, x, y, "softmax_cross_entropy") < 1e-7
    before = net.parameters[:7].copy()
    assert (before == 1.5).all()
    history = net.fit(x, y, optimizer=fb.AdamW(1e-2), epochs=5)
    assert history.cost[-1] < history.cost[0]
    assert (net.parameters[:7] != before).all()
    assert repr(net.layers[0]) == "Custom(7, 7, scale)"
    with pytest.raises(ValueError, match="save: got Custom"):
        net.save("never-written.safetensors")


def test_an_operation_without_parameters_and_one_that_is_not_compiled():
    with pytest.raises(TypeError, match=r"forward: got .*, expected a function compiled with @njit"):
        fb.Custom(2, 2, print, scale_backward)
    assert fb.Custom(2, 2, scale, scale_backward).size == 0
