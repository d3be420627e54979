"""Attributes: what can be set counts from the next call, what cannot raises, and names that do not exist are refused."""

import math
import pickle

import numpy as np
import pytest
from numba import njit

import fastbp as fb
from fastbp import engine
from fastbp.data import Standardizer

X = np.linspace(-1, 1, 120, dtype=np.float32).reshape(20, 6)
Y = np.arange(20) % 3


def network(rate=0.5, **options):
    return fb.Sequential(fb.Dense(6, 8, "relu"), fb.Dropout(rate), fb.Dense(8, 3), **options)


@njit
def square(z):
    return z * z


@njit
def twice(z):
    return 2.0 * z


@njit
def copy(x, parameters, out):
    out[:] = x


@njit
def copy_delta(delta, x, out, parameters, gradients, delta_x):
    delta_x[:] = delta


@njit
def square_row(output, y):
    return ((output - y) ** 2).sum()


@njit
def square_row_delta(output, y, delta):
    delta[:] = 2.0 * (output - y)


class Trial:
    """As of Optuna."""


OBJECTS = {
    "Sequential": network,
    "Dense": lambda: network().layers[0],
    "Dropout": lambda: network().layers[1],
    "Custom": lambda: fb.Custom(3, 3, copy, copy_delta),
    "an activation": lambda: fb.activations.custom(square, twice),
    "a loss": lambda: fb.losses.Huber(0.5),
    "a custom loss": lambda: fb.losses.custom(square_row, square_row_delta),
    "SGD": lambda: fb.SGD(0.1),
    "Adam": fb.Adam,
    "a schedule": lambda: fb.schedules.Cosine(0.1, 5),
    "EarlyStopping": lambda: fb.EarlyStopping(3),
    "Progress": lambda: fb.callbacks.Progress(3),
    "Checkpoint": lambda: fb.Checkpoint("run.safetensors"),
    "TensorBoard": lambda: fb.TensorBoard("runs"),
    "OptunaPruning": lambda: fb.OptunaPruning(Trial()),
    "History": lambda: network().fit(X, Y),
    "Standardizer": lambda: Standardizer.fit(X),
    "Training": lambda: network().training("softmax_cross_entropy", "sgd"),
}
SETTABLE = {
    "Sequential": {"parameters", "gradients", "history", "metadata", "epochs_shuffled"},
    "Dense": {"weight", "bias", "weight_gradient", "bias_gradient"},
    "Dropout": {"rate"},
    "EarlyStopping": {"patience", "restore_best", "min_delta"},
    "Progress": {"epochs", "force"},
    "Checkpoint": {"path", "every"},
    "TensorBoard": {"folder"},
    "OptunaPruning": {"trial", "monitor"},
    "History": {"cost", "validation_cost", "metrics", "learning_rate", "seconds", "steps"},
}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_name_that_does_not_exist_is_refused(name):
    thing = OBJECTS[name]()
    with pytest.raises(AttributeError):
        thing.trainable = False
    assert not hasattr(thing, "trainable")


@pytest.mark.parametrize("name", OBJECTS)
def test_what_can_be_set_takes_its_own_value_and_all_else_is_refused(name):
    thing, accepted = OBJECTS[name](), set()
    for attribute in (a for a in dir(thing) if not a.startswith("_")):
        value, shown = getattr(thing, attribute), repr(getattr(thing, attribute))
        try:
            setattr(thing, attribute, value)
            accepted.add(attribute)
        except AttributeError:
            assert repr(getattr(thing, attribute)) == shown
    assert accepted == SETTABLE.get(name, set())


@pytest.mark.parametrize("name", SETTABLE)
def test_nothing_can_be_deleted(name):
    thing = OBJECTS[name]()
    for attribute in SETTABLE[name]:
        with pytest.raises(AttributeError):
            delattr(thing, attribute)


REFUSED = {
    "unknown": (
        lambda: network().layers[0], "trainable", False, AttributeError,
        "trainable: got an assignment, expected one to what can be set of a Dense: "
        "bias, bias_gradient, weight, weight_gradient",
    ),
    "a method": (
        lambda: fb.activations.custom(square, twice), "passes", None, AttributeError,
        "passes: got an assignment, expected one to what can be set of a CustomActivation: nothing",
    ),
    "fixed": (
        lambda: network().layers[0], "activation", "tanh", AttributeError,
        "activation: got an assignment, expected none: Dense.activation can only be read",
    ),
    "a property": (
        network, "outputs", 4, AttributeError,
        "outputs: got an assignment, expected none: Sequential.outputs can only be read",
    ),
    "rate": (
        lambda: network().layers[1], "rate", 1.0, ValueError, "rate: got 1.0, expected a finite number >= 0 and < 1"
    ),
    "patience": (
        lambda: fb.EarlyStopping(2), "patience", 0, ValueError, "patience: got 0, expected an integer >= 1"
    ),
    "min_delta": (
        lambda: fb.EarlyStopping(2), "min_delta", "1", TypeError, "min_delta: got '1', expected a finite number >= 0"
    ),
    "restore_best": (
        lambda: fb.EarlyStopping(2), "restore_best", 1, TypeError, "restore_best: got 1, expected True or False"
    ),
    "every": (lambda: fb.Checkpoint("a"), "every", 0, ValueError, "every: got 0, expected an integer >= 1"),
    "metadata": (network, "metadata", None, TypeError, "metadata: got None, expected a dict"),
    "epochs_shuffled": (network, "epochs_shuffled", -1, ValueError, "epochs_shuffled: got -1, expected an integer >= 0"),
    "learning_rate": (
        lambda: network().training("softmax_cross_entropy", "sgd"), "learning_rate", np.ones(1), AttributeError,
        "learning_rate: got an assignment to a Training, expected one into its arrays: training.learning_rate[...]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_and_stays(name):
    make, attribute, value, error, message = REFUSED[name]
    thing = make()
    before = getattr(thing, attribute, None)
    with pytest.raises(error) as caught:
        setattr(thing, attribute, value)
    assert str(caught.value) == message
    assert repr(getattr(thing, attribute, None)) == repr(before)


# --------------------------------------------------------------------------------------------- what is set counts


def test_a_rate_set_later_counts_by_hand_in_a_fit_and_in_a_training_made_before():
    """As in a network that was made with it."""
    nets = [network(0.5), network(0.0)]
    trainings = [net.training("softmax_cross_entropy", "sgd", 8) for net in nets]
    for net in nets:
        net.forward(X[:8])
        net.fit(X, Y, optimizer="sgd", batch_size=8)
        net.parameters = network().parameters
    nets[0].layers[1].rate = 0.0
    assert nets[0].forward(X[:8]).tobytes() == nets[1].forward(X[:8]).tobytes() == nets[0].predict(X[:8]).tobytes()
    costs = [net.fit(X, Y, optimizer="sgd", batch_size=8).cost for net in nets]
    assert costs[0] == costs[1]
    for training in trainings:
        engine.train_step(training, X[:8], Y[:8])
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def test_a_rate_set_by_a_callback_counts_from_the_next_epoch():
    def switch_off(net, history):
        net.layers[1].rate = 0.0

    net = network(0.9)
    net.fit(X, Y, epochs=2, batch_size=20, shuffle=False, callbacks=switch_off)
    last = net.history.cost[1]
    again = network(0.9)
    again.fit(X, Y, batch_size=20, shuffle=False)
    assert last == pytest.approx(again.evaluate(X, Y), rel=1e-6)


def test_a_copy_has_a_rate_of_its_own():
    net = network(0.5)
    other = pickle.loads(pickle.dumps(net))
    other.layers[1].rate = 0.25
    assert (net.layers[1].rate, other.layers[1].rate) == (0.5, 0.25)


def test_patience_set_in_the_midst_of_a_fit_counts():
    stopping = fb.EarlyStopping(1)

    def never(net, history):
        stopping.patience = 100

    net = network(0.9)
    net.parameters *= 1e3  # a cost that rises and falls
    net.fit(X, Y, optimizer=fb.SGD(1e-12), epochs=30, callbacks=[never, stopping])
    assert len(net.history.cost) == 30
    assert stopping.best_epoch is not None
    assert math.isfinite(stopping.best_cost)


def test_epochs_shuffled_decides_the_order():
    nets = [network(0.0), network(0.0)]
    for net in nets:
        net.fit(X, Y, batch_size=4)
        net.parameters = network().parameters
    nets[0].epochs_shuffled = nets[1].epochs_shuffled = 0
    first = network(0.0)
    first.fit(X, Y, batch_size=4, optimizer="sgd")
    for net in nets:
        net.fit(X, Y, batch_size=4, optimizer="sgd")
        assert net.parameters.tobytes() == first.parameters.tobytes()


# ------------------------------------------------------------------------------------------------- classes of users


class Regressor(fb.Sequential):
    """With attributes of its own, some of which are named as methods of the base class."""

    def __init__(self, *layers):
        self.before = 1
        super().__init__(*layers)
        self.threshold = 0.5


class Recorder(fb.callbacks.Callback):
    def __init__(self):
        self.costs = []
        self.state = None

    def on_epoch_end(self, net, history):
        self.costs.append(history.cost[-1])


class Patient(fb.EarlyStopping):
    def __init__(self):
        super().__init__(3)
        self.log = []


def test_classes_derived_from_ours_may_have_attributes_of_their_own():
    net, recorder, patient = Regressor(fb.Dense(6, 3)), Recorder(), Patient()
    net.threshold, patient.log, patient.patience = 0.7, [1], 5
    net.fit(X, Y, epochs=2, callbacks=[recorder, patient])
    assert len(recorder.costs) == 2
    assert pickle.loads(pickle.dumps(net)).threshold == 0.7
    del net.threshold
    assert not hasattr(net, "threshold")
    for thing, fixed in ((net, "seed"), (net, "layers"), (net, "inputs"), (patient, "best_cost")):
        with pytest.raises(AttributeError, match=f"{fixed}: got an assignment, expected none"):
            setattr(thing, fixed, 1)
    with pytest.raises(ValueError, match="patience: got 0"):
        patient.patience = 0
