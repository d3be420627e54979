"""Dropout: the rate, the same mask forward and backward, reproducible, not in inference, the same for any threads."""

import numba
import numpy as np
import pytest

import fastbp as fb
from fastbp import engine

N = 200


def dropping(rate, dtype="float32", seed=7, width=N):
    """A network that does nothing but dropout."""
    return fb.Sequential(fb.Dense(width, width, weight_init=np.eye(width)), fb.Dropout(rate), dtype=dtype, seed=seed)


def ones(rows=N, width=N, dtype="float32"):
    return np.ones((rows, width), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_set_to_zero_is_the_rate_and_the_rest_is_scaled(rate, dtype):
    out = dropping(rate, dtype).forward(ones(dtype=dtype))
    dropped = out == 0
    np.testing.assert_array_equal(out[~dropped], np.dtype(dtype).type(1 / (1 - rate)))
    deviations = 5 * np.sqrt(rate * (1 - rate) / dropped.size)
    assert abs(dropped.mean() - rate) < deviations
    for axis in (0, 1):  # no row and no column is special
        assert np.abs(dropped.mean(axis=axis) - rate).max() < deviations * np.sqrt(N)
    neighbours = np.corrcoef(dropped[:, 1:].ravel(), dropped[:, :-1].ravel())[0, 1]
    assert abs(neighbours) < 5 / N


def test_rate_zero_changes_nothing():
    np.testing.assert_array_equal(dropping(0.0).forward(ones()), ones())


def test_each_pass_each_layer_and_each_seed_has_a_mask_of_its_own():
    net = dropping(0.5)
    passes = [net.forward(ones()) for _ in range(3)] + [dropping(0.5, seed=8).forward(ones())]
    for i, mask in enumerate(passes):
        for other in passes[:i]:
            assert abs((mask == other).mean() - 0.5) < 5 * 0.5 / N
    both = fb.Sequential(fb.Dense(N, N, weight_init=np.eye(N)), fb.Dropout(0.5), fb.Dropout(0.5)).forward(ones())
    assert abs((both > 0).mean() - 0.25) < 5 * 0.5 / N
    assert both.max() == 4


def test_the_same_seed_gives_the_same_masks():
    one, other = dropping(0.3), dropping(0.3)
    for _ in range(3):
        assert one.forward(ones()).tobytes() == other.forward(ones()).tobytes()


def test_the_mask_of_a_row_does_not_depend_on_how_many_rows_there_are():
    np.testing.assert_array_equal(dropping(0.3).forward(ones(5)), dropping(0.3).forward(ones(9))[:5])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_backward_pass_uses_the_mask_of_the_forward_pass(dtype):
    net = dropping(0.4, dtype)
    for _ in range(2):
        out = net.forward(ones(dtype=dtype))
        np.testing.assert_array_equal(net.backward(ones(dtype=dtype), input_delta=True), out)


def test_the_gradient_between_two_dense_layers_sees_the_mask():
    """Of y = v (mask * (w x)), dC/dw is zero exactly where the mask is."""
    net = fb.Sequential(fb.Dense(3, N, "softplus"), fb.Dropout(0.5), fb.Dense(N, N, weight_init=np.eye(N)))
    out = net.forward(ones(1, 3))
    net.backward(ones(1))
    np.testing.assert_array_equal(net.layers[0].bias_gradient != 0, out[0] != 0)
    np.testing.assert_array_equal(net.layers[2].weight_gradient[0] != 0, out[0] != 0)


def test_inference_is_untouched_and_leaves_the_masks_alone():
    one, other = dropping(0.5), dropping(0.5)
    np.testing.assert_array_equal(one.predict(ones()), ones())
    assert one.evaluate(ones(), ones(), "mean_squared_error") == 0
    training = one.training("mean_squared_error", fb.SGD(0.1), 32)
    np.testing.assert_array_equal(engine.predict(training, ones()), ones())
    assert engine.evaluate(training, ones(), ones()) == 0
    assert one.forward(ones()).tobytes() == other.forward(ones()).tobytes()


def test_masks_do_not_depend_on_threads():
    before, outs = numba.get_num_threads(), []
    for threads in (1, 2, 4):
        numba.set_num_threads(threads)
        net = dropping(0.5, width=300)
        assert net.sharing.region_for(512)
        outs.append((net.forward(ones(512, 300)), net.backward(ones(512, 300), input_delta=True)))
    numba.set_num_threads(before)
    for out, delta in outs:
        assert out.tobytes() == delta.tobytes() == outs[0][0].tobytes()


def test_a_pass_by_hand_and_the_verbs_count_the_same_passes():
    one, other = dropping(0.5), dropping(0.5)
    training = other.training("mean_squared_error", fb.SGD(0.1), N)
    for _ in range(2):
        assert one.forward(ones()).tobytes() == engine.forward(training, ones()).tobytes()
        assert one.forward(ones()).tobytes() == engine.serial.forward(training, ones()).tobytes()


@pytest.mark.parametrize(
    ("rate", "error"),
    [(1.0, ValueError), (-0.1, ValueError), (np.nan, ValueError), ("a", TypeError), (None, TypeError)],
)
def test_a_rate_outside_zero_to_one_is_refused(rate, error):
    with pytest.raises(error, match="rate: got"):
        fb.Dropout(rate)


def test_dropout_needs_a_layer_before_it():
    with pytest.raises(ValueError, match="layers: got Dropout first"):
        fb.Sequential(fb.Dropout(0.5), fb.Dense(2, 2))
    with pytest.raises(ValueError, match="Dropout"):
        fb.Dropout(0.5).forward(ones(2, 2))
