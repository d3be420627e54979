from __future__ import annotations

import io
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.callbacks import Callback, EarlyStopping, Progress, as_callbacks, latest


class Terminal(io.StringIO):
    def isatty(self):
        return True


def empty_history():
    return SimpleNamespace(cost=[], validation_cost=[], metrics={}, learning_rate=[], seconds=[])


def stand_in(size):
    """What callbacks see of a network."""
    values = np.zeros(size)
    return SimpleNamespace(parameters=values, state=SimpleNamespace(values=values))


def run(callbacks, costs, *, validation=None, net=None):
    """What a fit does around its epochs; the parameters are the number of the epoch. Returns net and history."""
    net = net or stand_in(3)
    history = empty_history()
    for callback in callbacks:
        callback.on_fit_begin(net, history)
    for epoch, cost in enumerate(costs, start=1):
        net.parameters[:] = epoch
        history.cost.append(cost)
        if validation is not None:
            history.validation_cost.append(validation[epoch - 1])
        stops = [callback.on_epoch_end(net, history) for callback in callbacks]
        if any(stops):
            break
    for callback in callbacks:
        callback.on_fit_end(net, history)
    return net, history


def test_the_base_does_nothing():
    _, history = run([Callback()], [3.0, 2.0, 1.0])
    assert history.cost == [3.0, 2.0, 1.0]


class TestAsCallbacks:
    def test_one_and_several(self):
        one, other = Callback(), EarlyStopping(1)
        assert as_callbacks(()) == ()
        assert as_callbacks(one) == (one,)
        assert as_callbacks([one, other]) == (one, other)
        assert as_callbacks(c for c in (one, other)) == (one, other)

    def test_a_function_runs_after_each_epoch(self):
        seen = []
        run(as_callbacks(lambda net, history: seen.append(history.cost[-1])), [3.0, 2.0])
        assert seen == [3.0, 2.0]

    @pytest.mark.parametrize("stop", [True, np.True_])
    def test_a_function_ends_the_fit_with_true(self, stop):
        _, history = run(as_callbacks([lambda net, history: stop]), [3.0, 2.0])
        assert history.cost == [3.0]

    @pytest.mark.parametrize("value", [None, False, np.False_, 0.5, 1, "yes"])
    def test_a_function_ends_the_fit_with_nothing_else(self, value):
        _, history = run(as_callbacks(lambda net, history: value), [3.0, 2.0])
        assert history.cost == [3.0, 2.0]

    @pytest.mark.parametrize("bad", [None, 3, "early", ["early"], [Callback(), None], {"a": 1}])
    def test_anything_else_is_a_type_error(self, bad):
        with pytest.raises(TypeError, match=r"callbacks: got .*, expected a fastbp.callbacks.Callback or a function"):
            as_callbacks(bad)

    @pytest.mark.parametrize("bad", [EarlyStopping, [EarlyStopping]])
    def test_a_class_in_place_of_an_instance_gets_advice(self, bad):
        with pytest.raises(TypeError, match=r"got the class EarlyStopping, expected an instance: EarlyStopping\("):
            as_callbacks(bad)


class TestEarlyStopping:
    def test_it_stops_after_so_many_epochs_without_a_fall_and_restores_the_best(self):
        stopping = EarlyStopping(patience=2)
        net, history = run([stopping], [5.0, 4.0, 4.5, 4.0, 1.0])
        assert history.cost == [5.0, 4.0, 4.5, 4.0]
        assert net.parameters.tolist() == [2, 2, 2]
        assert (stopping.best_epoch, stopping.best_cost) == (2, 4.0)

    def test_it_watches_the_validation_cost_when_there_is_one(self):
        net, history = run([EarlyStopping(patience=1)], [5.0, 4.0, 3.0], validation=[1.0, 2.0, 0.5])
        assert len(history.cost) == 2
        assert net.parameters[0] == 1

    def test_it_leaves_the_last_parameters_when_asked(self):
        net, _ = run([EarlyStopping(patience=1, restore_best=False)], [1.0, 2.0, 3.0])
        assert net.parameters[0] == 2

    def test_it_restores_the_best_when_the_fit_ends_by_itself(self):
        net, _ = run([EarlyStopping(patience=9)], [3.0, 1.0, 2.0])
        assert net.parameters[0] == 2

    def test_a_smaller_fall_than_min_delta_does_not_count(self):
        stopping = EarlyStopping(patience=2, min_delta=0.5)
        _, history = run([stopping], [3.0, 2.75, 2.5, 1.0])
        assert len(history.cost) == 3
        assert stopping.best_epoch == 1

    def test_it_serves_several_fits(self):
        stopping = EarlyStopping(patience=1)
        run([stopping], [1.0, 2.0])
        net, history = run([stopping], [30.0, 20.0, 25.0])
        assert history.cost == [30.0, 20.0, 25.0]
        assert net.parameters[0] == 2
        assert stopping.best_cost == 20.0

    def test_nan_is_no_improvement(self):
        stopping = EarlyStopping(patience=2)
        net, history = run([stopping], [np.nan, np.nan, 1.0])
        assert len(history.cost) == 2
        assert stopping.best_epoch is None
        assert net.parameters[0] == 2  # nothing to restore

    def test_it_keeps_a_copy_and_lets_it_go(self):
        stopping = EarlyStopping(patience=1)
        net, _ = run([stopping], [1.0, 2.0])
        net.parameters[:] = 7
        stopping.on_fit_end(net, empty_history())
        assert net.parameters[0] == 7

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.integers(1, 10))
    def test_it_ends_with_the_first_best_of_the_epochs_run(self, costs, patience):
        net, history = run([EarlyStopping(patience)], costs)
        assert net.parameters[0] == 1 + history.cost.index(min(history.cost))

    @given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12), st.integers(1, 5), st.data())
    def test_it_goes_on_from_its_state(self, costs, patience, data):
        cut = data.draw(st.integers(1, len(costs) - 1))
        through, before, after = (EarlyStopping(patience) for _ in range(3))
        through.on_fit_begin(None, None)
        before.on_fit_begin(None, None)
        net, history = stand_in(2), empty_history()
        for epoch, cost in enumerate(costs):
            net.parameters[:] = epoch
            history.cost.append(cost)
            stops = through.on_epoch_end(net, history)
            if epoch < cut:
                before.on_epoch_end(net, history)
            else:
                if epoch == cut:
                    after.on_fit_begin(net, history)
                    after.resume({name: array.copy() for name, array in before.state().items()})
                assert after.on_epoch_end(net, history) == stops
        assert (after.best_epoch, after.best_cost) == (through.best_epoch, through.best_cost)
        np.testing.assert_array_equal(after.state()["parameters"], through.state()["parameters"])

    def test_repr(self):
        assert repr(EarlyStopping(3)) == "EarlyStopping(patience=3, restore_best=True, min_delta=0.0)"

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"patience": 0}, ValueError, "patience: got 0, expected an integer >= 1"),
            ({"patience": 1.5}, TypeError, "patience: got 1.5"),
            ({"patience": 1, "restore_best": 1}, TypeError, "restore_best: got 1, expected True or False"),
            ({"patience": 1, "min_delta": -1}, ValueError, "min_delta: got -1, expected a finite number >= 0"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, error, message):
        with pytest.raises(error, match=message):
            EarlyStopping(**arguments)


class TestProgress:
    def test_it_shows_costs_and_metrics_on_a_terminal(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        net, history = SimpleNamespace(), empty_history()
        progress = Progress(2)
        progress.on_fit_begin(net, history)
        history.cost.append(0.12345)
        history.validation_cost.append(0.5)
        history.metrics["accuracy"] = [0.75]
        progress.on_epoch_end(net, history)
        progress.on_fit_end(net, history)
        shown = sys.stderr.getvalue()
        assert "1/2" in shown
        assert "cost=0.1234" in shown or "cost=0.1235" in shown
        assert "validation cost=0.5" in shown
        assert "accuracy=0.75" in shown

    def test_it_is_silent_elsewhere(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        monkeypatch.setitem(sys.modules, "tqdm", None)  # and needs no tqdm then
        run([Progress(2)], [1.0, 2.0])
        assert sys.stderr.getvalue() == ""

    def test_it_can_be_forced(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        run([Progress(2, force=True)], [1.0, 2.0])
        assert "2/2" in sys.stderr.getvalue()

    def test_it_shows_itself_in_a_notebook(self, monkeypatch):
        shell = SimpleNamespace(config={"IPKernelApp": {}})
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ipywidgets may be missing
            run([Progress(2)], [1.0, 2.0])
        assert "2/2" in sys.stderr.getvalue()

    def test_ipython_in_a_pipe_is_no_notebook(self, monkeypatch):
        shell = SimpleNamespace(config={})
        for found in (shell, None):
            monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda found=found: found))
            monkeypatch.setattr(sys, "stderr", io.StringIO())
            run([Progress(2)], [1.0, 2.0])
            assert sys.stderr.getvalue() == ""

    def test_it_begins_with_the_epochs_of_a_checkpoint(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        history = empty_history()
        history.cost += [2.0, 1.0]
        progress = Progress(5)
        progress.on_fit_begin(None, history)
        progress.on_fit_end(None, history)
        assert "2/5" in sys.stderr.getvalue()

    def test_without_tqdm_it_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "tqdm", None)
        with pytest.raises(ImportError, match=r"pip install 'fastbp\[progress\]'"):
            run([Progress(2, force=True)], [1.0])

    def test_bad_epochs_are_named(self):
        with pytest.raises(ValueError, match="epochs: got 0"):
            Progress(0)


def test_latest_leaves_out_what_is_not_there():
    history = empty_history()
    assert latest(history) == {}
    history.cost += [2.0, 1.0]
    assert latest(history) == {"cost": 1.0}
