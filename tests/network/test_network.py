"""A network below its face: what is shared by threads, deltas of several readers, statistics."""

import copy
import pickle

import numpy as np
import pytest
from numba import njit

import fastbp as fb
from fastbp.engine.memory import zeros_apart
from fastbp.engine.table import OPERATION
from fastbp.layers.dropout import Dropout
from fastbp.network.contract import Tensor

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 4)), RNG.integers(0, 2, 60)


# ------------------------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("neurons", [512, 1024, 4000])
def test_a_dropout_is_no_product_of_inputs_and_outputs(neurons):
    """One row behind it needs no second thread, and `predict` of it gets its fast way."""
    net = fb.Sequential(fb.Dense(3, neurons), fb.Dropout(0.5), fb.Dense(neurons, 1))
    assert not net.sharing.shares(1)
    assert net.sharing.region_for(1) == 0
    assert net.sharing.flops == 2 * 3 * neurons + 64 * neurons + 2 * neurons
    row = np.ones((1, 3), np.float32)
    first, second = net.predict(row), net.predict(row)
    assert first.tobytes() == second.tobytes()
    assert list(net._small) == [row.dtype]


# -------------------------------------------------------------------------------------------------------------- deltas


@njit
def double(x, parameters, out):
    out[:] = 2 * x


@njit
def double_backward(delta, x, out, parameters, gradients, delta_x):
    delta_x[:] = 2 * delta


@pytest.mark.parametrize(
    "layer",
    [
        lambda: fb.Dense(6, 6, "tanh"),
        lambda: fb.Dropout(0.3),
        fb.Scale,
        lambda: fb.Custom(6, 6, double, double_backward),
    ],
)
def test_every_operation_adds_its_delta_where_an_output_has_several_readers(layer):
    """As wired for an output that others read too: what they have left in its delta stays, and this one's comes on top."""
    deltas = []
    for adds in (False, True):
        net = fb.Sequential(fb.Dense(4, 6), layer(), fb.Dense(6, 2), dtype="float64")
        out = net.forward(X)
        training = net._active
        record, target = training.operations[1], zeros_apart((len(X), 6), np.float64)
        target[:] = np.arange(6)
        if adds:
            record[OPERATION["adds_to"] // 8] = target.ctypes.data
            record[OPERATION["adds_to_stride"] // 8] = target.strides[0]
        net.backward(np.ones_like(out))
        deltas.append(target)
    own = deltas[1] - deltas[0]
    assert np.abs(own).max() > 0
    twin = fb.Sequential(fb.Dense(4, 6), layer(), fb.Dense(6, 2), dtype="float64")
    twin.forward(X)
    twin.backward(np.ones_like(out))
    gradient = twin.layers[0].bias_gradient
    np.testing.assert_allclose(own.sum(0), gradient, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------- statistics


class Counted(Dropout):
    """A dropout that keeps three statistics beside its parameters, of which it has none."""

    @property
    def statistics(self):
        return (Tensor("counts", (3,), np.array([1.0, 2.0, 3.0]), "counts"),)

    @property
    def counts(self):
        return self.owner().statistics[:3]


def counted(seed=0):
    return fb.Sequential(fb.Dense(4, 6, "tanh"), Counted(0.0), fb.Dense(6, 2), dtype="float64", seed=seed)


def test_statistics_are_no_parameters():
    net = counted()
    assert net.statistics.tolist() == [1.0, 2.0, 3.0]
    assert net.parameters.size == 4 * 6 + 6 + 6 * 2 + 2 == net.gradients.size == net.layers[0].size + net.layers[2].size
    net.fit(X, Y, epochs=2)
    assert net.statistics.tolist() == [1.0, 2.0, 3.0], "no step changes them"


def test_copies_and_pickles_have_statistics_of_their_own():
    net = counted()
    net.statistics[:] = [7.0, 8.0, 9.0]
    for other in (copy.deepcopy(net), copy.copy(net), pickle.loads(pickle.dumps(net))):
        assert other.statistics.tolist() == [7.0, 8.0, 9.0]
        assert other.layers[1].counts.tolist() == [7.0, 8.0, 9.0]
        other.statistics[:] = 0
    assert net.statistics.tolist() == [7.0, 8.0, 9.0]


@pytest.fixture
def known(monkeypatch):
    """Files name the layer as one of fastbp's own."""
    from fastbp import layers

    monkeypatch.setattr(layers, "Counted", Counted, raising=False)
    monkeypatch.setattr(layers, "__all__", [*layers.__all__, "Counted"])


def test_files_hold_statistics(known, tmp_path):
    net = counted()
    net.statistics[:] = [7.0, 8.0, 9.0]
    net.save(tmp_path / "net.safetensors")
    assert fb.Sequential.load(tmp_path / "net.safetensors").statistics.tolist() == [7.0, 8.0, 9.0]


class Counting(fb.Callback):
    """Does after each epoch what an operation with statistics would do in it."""

    def on_epoch_end(self, net, history):
        net.statistics[0] += 1


def test_checkpoints_hold_statistics(known, tmp_path):
    whole, killed, resumed = counted(), counted(), counted()
    whole.fit(X, Y, epochs=4, callbacks=[Counting()])
    killed.fit(X, Y, epochs=2, callbacks=[Counting(), fb.Checkpoint(tmp_path / "run")])
    resumed.fit(X, Y, epochs=4, callbacks=[Counting(), fb.Checkpoint(tmp_path / "run")])
    assert whole.statistics.tolist() == resumed.statistics.tolist() == [5.0, 2.0, 3.0]
    assert whole.parameters.tobytes() == resumed.parameters.tobytes()


def test_a_checkpoint_of_other_statistics_is_of_another_fit(known, tmp_path):
    net = counted()
    net.fit(X, Y, epochs=2, callbacks=fb.Checkpoint(tmp_path / "run"))
    other = counted()
    other.statistics[0] = 5
    with pytest.raises(ValueError, match="checkpoint of another fit, whose network was"):
        other.fit(X, Y, epochs=2, callbacks=fb.Checkpoint(tmp_path / "run"))


class Spoiling(fb.Callback):
    """Changes statistics, and then makes the next epoch fail."""

    def on_epoch_end(self, net, history):
        net.statistics[0] += 1
        if len(history.cost) == 2:
            net.parameters[:] = np.inf


def test_a_fit_that_fails_goes_back_to_the_statistics_of_the_last_finite_epoch():
    net = counted()
    with pytest.raises(FloatingPointError):
        net.fit(X, Y, epochs=5, callbacks=Spoiling())
    assert net.statistics.tolist() == [2.0, 2.0, 3.0]
    assert np.isfinite(net.parameters).all()


def test_a_refused_fit_leaves_statistics_as_they_were():
    net, x = counted(), X.copy()
    x[30, 2] = np.nan
    net.statistics[0] = 4
    with pytest.raises(ValueError, match="row 30"):
        net.fit(x, Y, epochs=2, shuffle=False)
    assert net.statistics.tolist() == [4.0, 2.0, 3.0]


def test_many_networks_keep_statistics_with_the_parameters_of_the_last_finite_epoch():
    nets = [counted(0), counted(1)]
    nets[0].statistics[0] = 4
    fb.fit_many(nets, X, Y, epochs=2, early_stopping=fb.EarlyStopping(1))
    assert nets[0].kept[-3:].tolist() == [4.0, 2.0, 3.0]
    assert [net.statistics.tolist() for net in nets] == [[4.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
