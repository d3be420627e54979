"""fit on minibatches that an iterable hands out: the bits of arrays, and what is refused."""

import itertools

import numpy as np
import pytest

import fastbp as fb
from fastbp import schedules

RNG = np.random.default_rng(0)
X = RNG.standard_normal((100, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
W = RNG.random(100)
FALLING = fb.Adam(schedules.Cosine(1e-2, 3))


def network(**settings):
    return fb.Sequential(fb.Dense(6, 8, "relu"), fb.Dropout(0.2), fb.Dense(8, 2), seed=3, **settings)


def batches(size=32, *arrays):
    arrays = arrays or (X, Y, W)
    return [tuple(a[i : i + size] for a in arrays) for i in range(0, 100, size)]


def outcome(net):
    history = net.history
    measured = (history.cost, history.learning_rate, history.validation_cost, history.metrics, history.steps)
    return net.parameters.tobytes(), net.state.moments.tobytes(), net.state.counters.tolist(), measured


SOURCES = {
    "list": lambda: {"x": batches()},
    "lists in a tuple": lambda: {"x": tuple(map(list, batches()))},
    "function": lambda: {"x": lambda: iter(batches()), "steps_per_epoch": 4},
    "generator": lambda: {"x": (batch for _ in range(3) for batch in batches()), "steps_per_epoch": 4},
    "endless": lambda: {"x": itertools.cycle(batches()), "steps_per_epoch": 4},
    "list, epochs of its length": lambda: {"x": batches(), "steps_per_epoch": 4},
    "other dtypes": lambda: {"x": [(x.astype(np.float64), y.astype(np.uint8), w) for x, y, w in batches()]},
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_are_those_of_arrays(source, dtype):
    net, twin = network(dtype=dtype), network(dtype=dtype)
    settings = {"epochs": 3, "optimizer": FALLING, "validation_data": (X[:50], Y[:50]), "metrics": "accuracy"}
    net.fit(**SOURCES[source](), **settings)
    twin.fit(X, Y, sample_weight=W, shuffle=False, **settings)
    assert outcome(net) == outcome(twin)


def test_a_dataloader_of_torch():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    net, twin = network(), network()
    net.fit(DataLoader(TensorDataset(*map(torch.from_numpy, (X, Y, W))), batch_size=32), epochs=3, optimizer=FALLING)
    twin.fit(X, Y, sample_weight=W, shuffle=False, epochs=3, optimizer=FALLING)
    assert outcome(net) == outcome(twin)


def test_minibatches_may_be_of_any_size():
    cuts = [0, 3, 40, 41, 100]
    pieces = [(X[a:b], Y[a:b]) for a, b in itertools.pairwise(cuts)]
    net, twin = network(), network()
    net.fit(pieces, epochs=2)
    for x, y in pieces * 2:
        twin.fit(x, y, batch_size=100, shuffle=False)
    assert net.parameters.tobytes() == twin.parameters.tobytes()
    assert net.history.steps == 8


def test_an_epoch_may_be_part_of_a_pass_or_several():
    net, twin = network(), network()
    net.fit(batches(), steps_per_epoch=3, epochs=4)
    twin.fit(batches(), steps_per_epoch=6, epochs=2)
    assert net.parameters.tobytes() == twin.parameters.tobytes()
    assert len(net.history.cost) == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": []}, ValueError, "x: got no minibatch, expected at least one"),
        ({"x": iter(())}, ValueError, "x: got no minibatch"),
        ({"x": [X, X]}, TypeError, r"x: got ndarray for a minibatch, expected tuples \(x, y\)"),
        ({"x": X.tolist()}, TypeError, "x: got list for a minibatch"),
        ({"x": "text"}, TypeError, "x: got str for a minibatch"),
        ({"x": [(X,)]}, TypeError, "x: got tuple for a minibatch"),
        ({"x": [(X, Y[:3])]}, ValueError, "minibatch 1 of epoch 1: y: got 3 rows, expected 100"),
        ({"x": X}, TypeError, "y: got None"),
        ({"x": batches(), "batch_size": 3}, ValueError, "batch_size: got int beside minibatches, expected None"),
        ({"x": batches(), "shuffle": False}, ValueError, "shuffle: got bool beside minibatches"),
        ({"x": batches(), "sample_weight": W}, ValueError, "sample_weight: got ndarray beside minibatches"),
        ({"x": batches(), "metrics": "accuracy"}, ValueError, "metrics: got some beside minibatches"),
        ({"x": batches(), "steps_per_epoch": 0}, ValueError, "steps_per_epoch: got 0"),
        ({"x": iter(batches()), "epochs": 2}, ValueError, "steps_per_epoch: got None for 2 epochs of an iterator"),
        ({"x": iter(batches()), "optimizer": FALLING}, ValueError, "steps_per_epoch: got None, and x has no length"),
        ({"x": X, "y": Y, "steps_per_epoch": 3}, ValueError, "steps_per_epoch: got 3 beside arrays, expected None"),
        ({"x": [(X, Y), (np.full_like(X, np.nan), Y)]}, ValueError, "x: got nan in row 0, column 0"),
    ],
)
def test_what_is_refused_leaves_the_network(arguments, error, message):
    net, twin = network(), network()
    with pytest.raises(error, match=message):
        net.fit(**arguments)
    assert net.parameters.tobytes() == twin.parameters.tobytes()
    assert net.state.counters.tolist() == twin.state.counters.tolist()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: {"x": iter(batches()), "epochs": 3, "steps_per_epoch": 3}, "got 1 minibatches in epoch 2, expected 3"),
        (lambda: {"x": [(X, Y), (X[:, 1:], Y)]}, r"minibatch 2 of epoch 1: x: got shape \(100, 5\)"),
    ],
)
def test_what_comes_too_late_to_refuse_leaves_what_was_learned(source, message):
    net, twin = network(), network()
    with pytest.raises(ValueError, match=message):
        net.fit(**source())
    twin.fit([(X, Y)]) if "shape" in message else twin.fit(batches())
    assert net.parameters.tobytes() == twin.parameters.tobytes()


@pytest.mark.parametrize("first", [0.0, 1e-60])
def test_a_minibatch_without_weight_is_as_in_arrays(first):
    """Also where its weights are too small for float32 beside the others, and where it comes first."""
    weights = np.concatenate([np.full(32, first), np.ones(32), np.zeros(36)])
    net, twin = network(), network()
    net.fit(batches(32, X, Y, weights), epochs=2)
    twin.fit(X, Y, sample_weight=weights, shuffle=False, epochs=2)
    assert outcome(net) == outcome(twin)


@pytest.mark.parametrize("weight", [0.0, 1e-60])
def test_an_epoch_without_any_weight_is_refused_and_changes_nothing(weight):
    net, twin = network(), network()
    for fitted in (net, twin):
        fitted.fit(batches())
    before = net.parameters.tobytes()
    with pytest.raises(
        ValueError, match="sample_weight: got 0 in float32 in every row of epoch 1, expected at least one"
    ):
        net.fit(batches(32, X, Y, np.full(100, weight)))
    assert net.parameters.tobytes() == before
    for fitted in (net, twin):
        fitted.fit(batches())
    assert net.parameters.tobytes() == twin.parameters.tobytes()


def test_a_minibatch_without_weight_by_hand():
    net = network()
    cost, delta = fb.losses.softmax_cross_entropy(net.forward(X[:32]), Y[:32], np.zeros(32))
    assert cost == 0
    assert not delta.any()
    net.backward(delta)
    net.step(fb.SGD(0.1))
    assert net.parameters.tobytes() == network().parameters.tobytes()
