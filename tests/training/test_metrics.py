"""Metrics by name mean what the name says, for the cost and the last layer at hand; or they are refused before training."""

import numpy as np
import pytest
from numba import njit
from reference import numbers

import fastbp as fb

F64 = np.dtype(np.float64)
X = numbers((40, 3), F64)
SIDE = X[:, 0] > 0
BOTH = np.stack([SIDE, X[:, 1] > 0.3], axis=1)  # of several labels
SGD = fb.SGD(0.0)


def network(activation="identity", outputs=1):
    return fb.Sequential(fb.Dense(3, outputs, activation), dtype="float64", seed=3)


def measured(net, y, loss, metric="accuracy", **settings):
    return net.fit(X, y, loss, SGD, metrics=metric, **settings).metrics[metric][-1]


@pytest.mark.parametrize("loss", ["mean_squared_error", "mean_absolute_error", "huber", fb.losses.Quantile(0.3)])
@pytest.mark.parametrize(
    ("activation", "low", "threshold"),
    [
        ("identity", 0, 0.5), ("sigmoid", 0, 0.5), ("hard_sigmoid", 0, 0.5), ("tanh", 0, 0.5),
        ("tanh", -1, 0.0), ("identity", -1, 0.0),
    ],
)  # fmt: skip
def test_accuracy_of_one_output_with_costs_of_numbers(loss, activation, low, threshold):
    net, y = network(activation), np.where(SIDE, 1, low)
    expected = np.mean((net.predict(X)[:, 0] > threshold) == SIDE)
    assert 0 < expected < 1
    assert measured(net, y, loss) == expected
    assert measured(net, y[:, None].astype(np.float32), loss) == expected


def test_a_network_that_is_always_right_has_an_accuracy_of_one():
    net = fb.Sequential(fb.Dense(3, 1, "sigmoid", weight_init=np.array([[30.0, 0, 0]])))
    assert measured(net, SIDE, "mean_squared_error") == 1
    net = fb.Sequential(fb.Dense(3, 1, bias_init=np.array([0.4])))
    net.layers[0].weight = np.zeros((1, 3))
    assert measured(net, np.zeros(40), "mean_squared_error") == 1  # 0.4 is nearer to 0 than to 1


def test_accuracy_where_all_of_y_are_one():
    net = fb.Sequential(fb.Dense(3, 1, "tanh", weight_init=np.zeros((1, 3)), bias_init=np.array([0.2])))
    assert measured(net, np.ones(40), "mean_squared_error") == 1
    net = fb.Sequential(fb.Dense(3, 1, weight_init=np.zeros((1, 3)), bias_init=np.array([0.2])))
    assert measured(net, np.ones(40), "mean_squared_error") == 0


def test_accuracy_of_several_labels_counts_the_samples_all_of_whose_labels_are_right():
    """As scikit-learn's accuracy_score and the estimators' score have it."""
    net = network(outputs=2)
    right = (net.predict(X) > 0) == BOTH
    assert 0 < right.all(axis=1).mean() < right.mean()
    assert measured(net, BOTH, "binary_cross_entropy") == right.all(axis=1).mean()
    assert measured(net, 0.9 * BOTH + 0.05, "binary_cross_entropy") == right.all(axis=1).mean()


@pytest.mark.parametrize("rows", [np.eye(3), 2 * np.eye(3) - 1])
def test_accuracy_of_one_hot_rows_with_squared_errors_is_that_of_the_largest_output(rows):
    net, labels = network("tanh", 3), np.arange(40) % 3
    assert measured(net, rows[labels], "mean_squared_error") == np.mean(net.predict(X).argmax(axis=1) == labels)


def test_mean_absolute_error_is_that_of_the_prediction():
    net, counts = network(), np.arange(40) % 5
    output = net.predict(X)[:, 0]
    for loss, prediction, y in (
        ("mean_squared_error", output, X[:, 1]), ("poisson", np.exp(output), counts),
        ("binary_cross_entropy", 1 / (1 + np.exp(-output)), SIDE),
    ):  # fmt: skip
        assert measured(net, y, loss, "mean_absolute_error") == pytest.approx(np.mean(np.abs(prediction - y)))


@njit
def cost(output, y):
    return ((output - y) ** 2).sum()


@njit
def derivative(output, y, delta):
    delta[:] = 2 * (output - y)


CUSTOM = fb.losses.custom(cost, derivative)
REFUSED = {
    "accuracy of numbers": (network(), X[:, 0], "mean_squared_error", "accuracy"),
    "accuracy of rows of numbers": (network(outputs=3), X, "mean_squared_error", "accuracy"),
    "accuracy of several labels with squared errors": (network(outputs=2), BOTH, "mean_squared_error", "accuracy"),
    "accuracy of labels 0 to 2 as numbers": (network(), np.arange(40) % 3, "mean_squared_error", "accuracy"),
    "accuracy of counts": (network(), np.arange(40) % 2, "poisson", "accuracy"),
    "accuracy of -1 after a sigmoid": (network("sigmoid"), 2 * SIDE - 1, "mean_squared_error", "accuracy"),
    "accuracy with a cost of the user's": (network(), SIDE, CUSTOM, "accuracy"),
    "mean_absolute_error of labels": (network(outputs=3), np.arange(40) % 3, "softmax_cross_entropy", "mean_absolute_error"),
    "mean_absolute_error of one-hot rows": (
        network(outputs=3), np.eye(3)[np.arange(40) % 3], "softmax_cross_entropy", "mean_absolute_error",
    ),
}  # fmt: skip


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_a_metric_that_would_mean_something_else_is_refused_before_training(case, validated):
    net, y, loss, metric = REFUSED[case]
    before, history = net.parameters.tobytes(), net.history
    with pytest.raises(ValueError, match=rf"metrics: got '{metric}' with .*, expected"):
        net.fit(X, y, loss, fb.SGD(0.1), metrics=metric, validation_data=(X, y) if validated else None)
    assert net.parameters.tobytes() == before
    assert net.history is history


def test_accuracy_with_a_cost_of_the_users_after_a_sigmoid():
    net = network("sigmoid")
    assert measured(net, SIDE, CUSTOM) == np.mean((net.predict(X)[:, 0] > 0.5) == SIDE)


def test_a_function_gets_y_and_the_output_as_they_are():
    seen = []

    def metric(y, output):
        seen.append((y.shape, output.shape))
        return 0.5

    assert measured(network(), SIDE, "mean_squared_error", "accuracy") != 0.5
    assert network().fit(X, SIDE, "mean_squared_error", metrics=["accuracy", metric]).metrics["metric"] == [0.5]
    assert seen == [((40, 1), (40, 1))]


def test_metrics_of_weighted_validation_data_count_all_rows_alike():
    net, weights = network("sigmoid"), np.arange(40.0)
    history = net.fit(X, SIDE, "mean_squared_error", SGD, metrics="accuracy", validation_data=(X, SIDE, weights))
    assert history.metrics["accuracy"] == [np.mean((net.predict(X)[:, 0] > 0.5) == SIDE)]
    assert history.validation_cost == [net.evaluate(X, SIDE, "mean_squared_error", weights)]
