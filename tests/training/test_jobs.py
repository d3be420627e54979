"""One network alone as a job: the bits of `fit`, on one thread or several; the penalty on its weights."""

import numpy as np
import pytest

import fastbp as fb
from fastbp.network.samples import Evaluation, Samples
from fastbp.training import jobs
from fastbp.training.jobs import Job, JobSpec, SingleJob

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((500, 64)), rng.integers(0, 10, 500)
HELD = (rng.standard_normal((70, 64)), rng.integers(0, 10, 70))
LOSS, SCHEDULE = fb.losses.softmax_cross_entropy, fb.schedules.Exponential(0.1, 0.8)


def network():
    return fb.Sequential(fb.Dense(64, 100, "relu"), fb.Dropout(0.1), fb.Dense(100, 10), seed=3)


def alone(net, optimizer, epochs, penalty=0.0, stopping=None, shuffle=True):
    spec = JobSpec(
        net, LOSS, optimizer, 200, epochs, Samples(net, LOSS, X, Y), Evaluation(net, LOSS, Samples(net, LOSS, *HELD))
    )
    return SingleJob(Job(spec, shuffle, stopping), penalty)


@pytest.mark.parametrize("shares", [True, False])
def test_it_ends_as_fit_does(shares, monkeypatch):
    monkeypatch.setattr(jobs, "FIRST_ALONE", 0.0 if shares else 1e9)
    net, other, optimizer = network(), network(), fb.SGD(SCHEDULE, momentum=0.9)
    expected = net.fit(X, Y, optimizer=optimizer, batch_size=200, epochs=7, validation_data=HELD)
    run = alone(other, optimizer, 7)
    for epochs in (1, 4, 4, 7):
        run.advance(epochs)
        assert len(run.history.cost) == epochs
    run.finish()
    assert other.parameters.tobytes() == net.parameters.tobytes()
    assert (run.history.cost, run.history.validation_cost) == (expected.cost, expected.validation_cost)
    assert run.history.learning_rate == expected.learning_rate
    assert run.penalties == [0.0] * 7
    assert other.fit(X, Y, optimizer=optimizer).cost == net.fit(X, Y, optimizer=optimizer).cost


@pytest.mark.parametrize("optimizer", [fb.SGD(0.1), fb.Adam(), fb.Adam(clip_norm=0.5)])
def test_the_penalty_is_shared_out_by_rows(optimizer):
    """A minibatch of K rows decays weights by penalty / K; the last one here has 100 rows."""
    net, other = network(), network()
    run = alone(net, optimizer, 2, penalty=0.6, shuffle=False)
    run.advance(2)
    penalties = np.zeros(2)
    for epoch in range(2):
        for first, last in ((0, 200), (200, 400), (400, 500)):
            penalties[epoch] += 0.3 * sum((other.layers[i].weight.astype(float) ** 2).sum() for i in (0, 2))
            decayed = type(optimizer)(
                optimizer.learning_rate, weight_decay=0.6 / (last - first), clip_norm=optimizer.clip_norm
            )
            other.fit(X[first:last], Y[first:last], optimizer=decayed, batch_size=last - first, shuffle=False)
    assert other.parameters.tobytes() == net.parameters.tobytes()
    np.testing.assert_allclose(run.penalties, penalties / 500, rtol=1e-6)


def test_a_cost_that_is_not_finite_ends_it():
    run = alone(network(), fb.SGD(1e30), 9)
    run.advance(9)
    assert run.diverged
    assert len(run.history.cost) < 9


def test_the_best_epoch_is_restored():
    net = network()
    run = alone(net, fb.SGD(2.0), 12, stopping=fb.EarlyStopping(13))
    run.advance(12)
    run.finish()
    assert net.evaluate(*HELD) == pytest.approx(min(run.history.validation_cost), rel=1e-6)
    assert len(run.history.cost) == 12
