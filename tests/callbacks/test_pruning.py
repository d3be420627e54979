import sys

import numpy as np
import pytest

import fastbp as fb

X, Y = np.eye(4), [0, 1, 0, 1]


class Trial:
    """As optuna's; prunes after `last` reports."""

    def __init__(self, last=99):
        self.reports, self.last = [], last

    def report(self, value, step):
        self.reports.append((step, value))

    def should_prune(self):
        return len(self.reports) >= self.last


def fit(*arguments, **settings):
    net = fb.Sequential(fb.Dense(4, 2))
    settings = {"validation_data": (X, Y), **settings}
    return net, net.fit(X, Y, epochs=4, callbacks=fb.OptunaPruning(*arguments), metrics="accuracy", **settings)


@pytest.mark.parametrize("monitor", ["validation_cost", "cost", "accuracy"])
def test_it_reports_every_epoch(monitor):
    trial = Trial()
    _, history = fit(trial, monitor)
    assert trial.reports == list(enumerate(history.series()[monitor], 1))


def test_it_prunes():
    optuna = pytest.importorskip("optuna")
    trial = Trial(2)
    with pytest.raises(optuna.TrialPruned, match="after epoch 2"):
        fit(trial)
    assert len(trial.reports) == 2


def test_with_a_study():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.0))
    study.optimize(lambda trial: fit(trial)[1].cost[-1], n_trials=1)
    assert study.trials[0].state == optuna.trial.TrialState.PRUNED
    assert list(study.trials[0].intermediate_values) == [1]


def test_an_unknown_name_changes_nothing():
    net = fb.Sequential(fb.Dense(4, 2))
    history, before = net.fit(X, Y), net.parameters.copy()
    with pytest.raises(ValueError, match="monitor: got 'loss'"):
        net.fit(X, Y, callbacks=fb.OptunaPruning(Trial(), "loss"))
    assert net.history is history
    np.testing.assert_array_equal(net.parameters, before)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="monitor: got 'loss', expected one of cost, validation_cost, accuracy"):
        fit(Trial(), "loss")
    with pytest.raises(ValueError, match="monitor: got 'validation_cost', expected one of cost, accuracy"):
        fit(Trial(), validation_data=None)


def test_without_optuna_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[optuna\]'"):
        fit(Trial(1))
