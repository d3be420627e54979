"""Checkpoints: a fit that was killed goes on to the same bits; files of another fit are refused."""

import signal

import numpy as np
import pytest

import fastbp as fb
from fastbp import schedules

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 6)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int64)
OPTIMIZERS = {
    "adam": fb.Adam(schedules.Cosine(1e-2, 9)),
    "sgd": fb.SGD(schedules.Step(0.1, 4)),
    "momentum": fb.SGD(schedules.WarmUp(3, schedules.Exponential(0.1, 0.9)), momentum=0.9),
    "clipped": fb.RMSprop(1e-2, clip_norm=0.5),
}


class Killed(Exception):  # noqa: N818
    pass


def killed_after(epochs):
    def kill(net, history):
        if len(history.cost) == epochs:
            raise Killed

    return kill


def network(dtype="float32", seed=1):
    layers = (fb.Dense(6, 8, "relu"), fb.Dropout(0.2), fb.Dense(8, 2, bias=False))
    return fb.Sequential(*layers, dtype=dtype, seed=seed)


def outcome(net):
    history = net.history
    measured = (history.cost, history.validation_cost, history.metrics, history.learning_rate, history.steps)
    counters = (net._counters.tolist(), net.epochs_shuffled, net._rule)
    return net.parameters.tobytes(), net._moments.tobytes(), counters, measured


def train(net, callbacks=(), **settings):
    usual = {"epochs": 9, "batch_size": 32, "validation_data": (X[150:], Y[150:]), "metrics": "accuracy"}
    return net.fit(X[:150], Y[:150], callbacks=callbacks, **{**usual, **settings})


def resumed(path, kill_after, every, make=network, stopping=None, **settings):
    """A network whose fit was killed, then begun again by the same script."""
    for kill in (kill_after, None):
        net = make()
        callbacks = [fb.Checkpoint(path, every), *([fb.EarlyStopping(stopping)] if stopping else [])]
        try:
            train(net, [*callbacks, killed_after(kill)], **settings)
        except Killed:
            assert kill
    return net


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("kill_after", "every"), [(1, 2), (5, 2), (8, 1), (9, 1)])
def test_it_ends_as_if_it_had_run_through(tmp_path, name, kill_after, every):
    twin = network()
    train(twin, optimizer=OPTIMIZERS[name])
    net = resumed(tmp_path / "run", kill_after, every, optimizer=OPTIMIZERS[name])
    assert outcome(net) == outcome(twin)


def test_in_float64_and_unshuffled(tmp_path):
    twin = network("float64")
    train(twin, shuffle=False)
    net = resumed(tmp_path / "run", 4, 3, lambda: network("float64"), shuffle=False)
    assert outcome(net) == outcome(twin)


@pytest.mark.parametrize("kill_after", [2, 5, 8])
def test_early_stopping_goes_on(tmp_path, kill_after):
    settings = {"optimizer": fb.Adam(0.05), "epochs": 60}
    twin, stopping = network(), fb.EarlyStopping(4)
    train(twin, [stopping], **settings)
    assert 8 < len(twin.history.cost) < 60
    net = resumed(tmp_path / "run", kill_after, 1, stopping=4, **settings)
    assert outcome(net) == outcome(twin)


def test_a_fit_that_was_stopped_stays_so(tmp_path):
    settings = {"optimizer": fb.Adam(0.05), "epochs": 60}
    first, again = network(), network()
    for net in (first, again):
        stopping = fb.EarlyStopping(4)
        train(net, [fb.Checkpoint(tmp_path / "run", 100), stopping], **settings)
    assert outcome(first) == outcome(again)
    assert stopping.best_epoch == 1 + int(np.argmin(again.history.validation_cost))


def test_more_epochs_go_on_where_fewer_ended(tmp_path):
    twin, net = network(), network()
    train(twin)
    train(network(), [fb.Checkpoint(tmp_path / "run", 100)], epochs=4)
    train(net, [fb.Checkpoint(tmp_path / "run", 100)])
    assert outcome(net) == outcome(twin)


def test_a_second_fit_has_a_checkpoint_of_its_own(tmp_path):
    def two_fits(callbacks=(), kill=None):
        net = network()
        train(net, epochs=2)
        try:
            train(net, [*callbacks, killed_after(kill)])
        except Killed:
            return None
        return net

    two_fits([fb.Checkpoint(tmp_path / "run")], kill=3)
    assert outcome(two_fits([fb.Checkpoint(tmp_path / "run")])) == outcome(two_fits())


@pytest.mark.parametrize("source", [list, iter])
def test_minibatches_go_on(tmp_path, source):
    pieces = [(X[i : i + 40], Y[i : i + 40]) for i in range(0, 200, 40)]
    twin = network()
    twin.fit(source(pieces * 9), steps_per_epoch=4, epochs=9)
    for kill in (5, None):
        net = network()
        callbacks = [fb.Checkpoint(tmp_path / "run", 2), killed_after(kill)]
        try:
            net.fit(source(pieces * 9), steps_per_epoch=4, epochs=9, callbacks=callbacks)
        except Killed:
            assert kill
    assert outcome(net) == outcome(twin)


def test_a_metric_of_nan_is_kept(tmp_path):
    def nothing(y, output):
        return np.nan

    net = resumed(tmp_path / "run", 4, 1, metrics=[nothing])
    assert np.isnan(net.history.metrics["nothing"]).all()
    assert len(net.history.metrics["nothing"]) == 9


def test_the_file_is_a_model_too(tmp_path):
    net = network()
    train(net, [fb.Checkpoint(tmp_path / "run")])
    assert fb.Sequential.load(tmp_path / "run").parameters.tobytes() == net.parameters.tobytes()


class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "settings", "what"),
        [
            (lambda: network(seed=2), {}, "network"),
            (lambda: network("float64"), {}, "network"),
            (network, {"batch_size": 16}, "batch_size"),
            (network, {"shuffle": False}, "shuffle"),
            (network, {"optimizer": fb.Adam(1e-4)}, "optimizer"),
            (network, {"loss": fb.losses.SoftmaxCrossEntropy(0.1)}, "loss"),
        ],
    )
    def test_the_file_of_another_fit(self, tmp_path, make, settings, what):
        train(network(), [fb.Checkpoint(tmp_path / "run")], epochs=2)
        net, twin = make(), make()
        with pytest.raises(
            ValueError, match=f"run: got the checkpoint of another fit, whose {what} was .*delete the file"
        ):
            train(net, [fb.Checkpoint(tmp_path / "run")], **settings)
        assert net.parameters.tobytes() == twin.parameters.tobytes()
        assert net._rule is None

    def test_fewer_epochs_than_it_has(self, tmp_path):
        train(network(), [fb.Checkpoint(tmp_path / "run")], epochs=3)
        with pytest.raises(ValueError, match="epochs: got 2, expected at least the 3"):
            train(network(), [fb.Checkpoint(tmp_path / "run")], epochs=2)

    def test_a_model_file(self, tmp_path):
        network().save(tmp_path / "run")
        with pytest.raises(ValueError, match="run: got a model file without the state of a fit"):
            train(network(), [fb.Checkpoint(tmp_path / "run")])

    def test_two_checkpoints(self, tmp_path):
        with pytest.raises(ValueError, match=r"callbacks: got 2 of fastbp.Checkpoint, expected at most one"):
            train(network(), [fb.Checkpoint(tmp_path / "a"), fb.Checkpoint(tmp_path / "b")])

    def test_bad_arguments(self, tmp_path):
        with pytest.raises(ValueError, match="every: got 0"):
            fb.Checkpoint(tmp_path, 0)

    def test_a_folder_that_is_not_there_is_an_error_before_long(self, tmp_path):
        with pytest.raises(OSError, match="nowhere"):
            train(network(), [fb.Checkpoint(tmp_path / "nowhere" / "run")])


SCRIPT = """
    import os, signal, sys
    import numpy as np, fastbp as fb

    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 5))
    y = x[:, :1] ** 2
    net = fb.Sequential(fb.Dense(5, 16, "tanh"), fb.Dropout(0.1), fb.Dense(16, 1), seed=4)

    def kill(net, history):
        if len(history.cost) == {kill_after}:
            os.kill(os.getpid(), signal.SIGKILL)

    def metric(y, output):  # in the midst of an epoch's end
        if len(net.history.validation_cost) == {kill_in}:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(output.mean())

    callbacks = [kill, fb.EarlyStopping(30)]
    if {path!r}:
        callbacks.append(fb.Checkpoint({path!r}, every=4))
    optimizer = fb.Adam(fb.schedules.Cosine(1e-2, 20))
    history = net.fit(
        x, y, "mean_squared_error", optimizer, epochs=20, validation_data=(x[:50], y[:50]), callbacks=callbacks, metrics=metric
    )
    for array in (net.parameters, net._moments, net._counters, history.cost, history.validation_cost,
                  history.metrics["metric"], history.learning_rate, history.steps):
        print(np.asarray(array).tobytes().hex())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_killed_processes_end_with_the_same_bits(run_python, tmp_path):
    def script(path="", kill_after=0, kill_in=0):
        return SCRIPT.format(path=path, kill_after=kill_after, kill_in=kill_in)

    path = str(tmp_path / "run.safetensors")
    for place in ({"kill_after": 6}, {"kill_in": 11}):
        with pytest.raises(AssertionError, match="exit status -9"):
            run_python(script(path, **place), cache=None)
    assert run_python(script(path), cache=None).stdout == run_python(script(), cache=None).stdout
