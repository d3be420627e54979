"""The sentences of kernels and verbs, each read whole: an argument, what came, what is expected, none pointing at itself."""

import numpy as np
import pytest

import fastbp as fb
from fastbp import engine, kernels

X, Z, Y = np.ones((4, 5), "f4"), np.ones((4, 3), "f4"), np.array([0, 1, 2, 0])
READ_ONLY = np.zeros((4, 3), "f4")
READ_ONLY.flags.writeable = False
DATES = np.ones((4, 5), "M8[s]")
VECTOR = np.ones(6, "f4")


def training(dtype="float32", loss="softmax_cross_entropy"):
    return fb.Sequential(fb.Dense(5, 3), dtype=dtype).training(loss, fb.SGD(0.1), 4)


def after_forward(dtype="float32"):
    found = training(dtype)
    engine.forward(found, X)
    return found


SENTENCES = {
    "x: got no NumPy array, expected one of float32 or float64": lambda: engine.predict(training(), 5.0),
    "x: got 1 dimensions, expected 2": lambda: engine.predict(training(), X[0]),
    "x: got 4 columns, expected 5, as in the network": lambda: engine.predict(training(), X[:, :4]),
    "x: got 5 rows, expected 1 to 4, the batch size": lambda: engine.train_step(
        training(), np.ones((5, 5), "f4"), np.zeros(5, int)
    ),
    "x: got dtype complex128, expected float32 or float64": lambda: engine.predict(training(), X.astype(complex)),
    "x: got dtype complex64, expected float32 or float64": lambda: engine.predict(training(), X.astype("c8")),
    "x: got dtype datetime64, expected float32 or float64": lambda: engine.predict(training(), DATES),
    "x: got dtype timedelta64, expected float32 or float64": lambda: engine.predict(training(), DATES - DATES),
    "x: got dtype text, expected float32 or float64": lambda: engine.predict(training(), X.astype("U3")),
    "x: got dtype records, expected float32 or float64": lambda: engine.predict(training(), np.ones((4, 5), "f4,f4")),
    "x: got 1e+39 in row 2, expected numbers that float32 holds": lambda: engine.predict(
        training(), np.eye(5)[:4] * [1, 1, 1e39, 1, 1]
    ),
    "out: got dtype float32, expected float64, that of the network": lambda: engine.predict(
        training("float64"), X, Z.copy()
    ),
    "out: got 4 columns, expected 3, as in the network": lambda: engine.predict(training(), X, X[:, :4].copy()),
    "out: got a read-only array, expected one that can be written": lambda: engine.predict(training(), X, READ_ONLY),
    "delta: got dtype float32, expected float64, that of the network": lambda: engine.backward(
        after_forward("float64"), Z
    ),
    "delta: got 2 columns, expected 3, as in the network": lambda: engine.backward(after_forward(), Z[:, :2]),
    "input_delta: got dtype float64, expected float32, that of delta": lambda: engine.backward(
        after_forward(), Z, np.ones((4, 5))
    ),
    "order: got dtype int32, expected int64": lambda: engine.train_epoch(training(), X, Y, np.arange(4, dtype="i4")),
    "order: got row 4 at place 1, expected 0 to 3": lambda: engine.train_epoch(training(), X, Y, np.array([0, 4])),
    "y: got dtype float32, expected integer labels, or targets in 2 dimensions": lambda: engine.train_step(
        training(), X, X[:, 0]
    ),
    "y: got label 3 in row 2, expected 0 to 2": lambda: engine.train_step(training(), X, Y + 1),
    "y: got 2 columns, expected 3, as in the network": lambda: engine.train_step(training(), X, Z[:, :2]),
    "y: got 3 rows, expected 4, as in x": lambda: engine.train_step(training(), X, Y[:3]),
    "y: got 2 dimensions of dtype int64 with 1 column, expected 3, as in the network, or labels in one dimension: y.ravel()": (
        lambda: engine.train_step(training(), X, Y[:, None])
    ),
    "y: got a sum of 3 in row 0, expected labels, or rows of probabilities, whose sum is 1": lambda: engine.train_step(
        training(), X, Z
    ),
    "y: got 2.0 in row 0, expected numbers from 0 to 1": lambda: engine.train_step(
        training(loss="binary_cross_entropy"), X, 2 * Z
    ),
    "y: got -1.0 in row 0, expected numbers of at least 0": lambda: engine.train_step(training(loss="poisson"), X, -Z),
    "sample_weight: got -1.0 in row 0, expected weights of at least 0 that float32 holds": lambda: engine.train_step(
        training(), X, Y, -np.ones(4)
    ),
    "sample_weight: got 0 in every row, expected at least one weight > 0": lambda: engine.evaluate(
        training(), X, Y, np.zeros(4)
    ),
    "y: got dtype float64, expected float32, that of z": lambda: kernels.huber(Z, Z.astype("f8")),
    "y: got 1 dimensions of dtype float32, expected 1 of integers (labels) or 2 of float32": lambda: (
        kernels.softmax_cross_entropy(Z, Z[:, 0])
    ),
    "out: shares memory with y, expected memory of its own": lambda: kernels.huber(Z * 1, *[Z * 1] * 2),
    "delta: got -1.0, expected a number of at least 0": lambda: kernels.huber(Z, Z, None, None, -1.0),
    "quantile: got 2.0, expected a number from 0 to 1": lambda: kernels.quantile(Z, Z, None, None, 2.0),
    "activation: got 99, expected one of fb.Activation, 0 to 12": lambda: kernels.activate(Z, 99),
    "accumulate: got 2, expected True or False": lambda: kernels.weight_gradient(Z, X, X[:3] * 1, 2),
    "step: got 0, expected an integer of at least 1": lambda: kernels.adam_step(
        VECTOR * 1, VECTOR * 1, VECTOR * 0, VECTOR * 0, 0, 0.1
    ),
    "w: got 4 columns, expected 5, as in a": lambda: kernels.dense_forward(X, np.ones((3, 4), "f4"), None, 0),
    "gradients: got dtype float64, expected float32, that of parameters": lambda: kernels.sgd_step(
        VECTOR * 1, np.ones(6), 0.1
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence(sentence):
    with pytest.raises((ValueError, TypeError)) as caught:
        SENTENCES[sentence]()
    assert str(caught.value) == sentence
