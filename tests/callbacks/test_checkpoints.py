"""Checkpoints: a fit that was killed goes on to the same bits; files of another fit are refused."""

import errno
import os
import re
import signal

import numpy as np
import pytest

import fastbp as fb
from fastbp import schedules
from fastbp.io import safetensors

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
    counters = (net.state.counters.tolist(), net.epochs_shuffled, net.state.rule)
    return net.parameters.tobytes(), net.state.moments.tobytes(), counters, measured


def nothing(y, output):
    return np.nan


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
        assert net.state.rule is None

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

    @pytest.mark.parametrize(
        ("settings", "what"),
        [
            ({"metrics": ()}, "metrics was accuracy, expected none"),
            ({"metrics": ("accuracy", nothing)}, "metrics was accuracy, expected accuracy, nothing"),
            ({"validation_data": None}, "validation_rows was 50, expected 0"),
            ({"validation_data": (X[160:], Y[160:])}, "validation_rows was 50, expected 40"),
        ],
        ids=["fewer metrics", "more metrics", "no validation", "other validation"],
    )
    def test_other_metrics_or_validation(self, tmp_path, settings, what):
        """Its series would have entries for some epochs only."""
        train(network(), [fb.Checkpoint(tmp_path / "run")], epochs=2)
        net, twin = network(), network()
        with pytest.raises(ValueError, match=f"run: got the checkpoint of another fit, whose {what}"):
            train(net, [fb.Checkpoint(tmp_path / "run")], **settings)
        assert everything(net) == everything(twin)

    @pytest.mark.parametrize("place", ["nowhere/run", "file/run", "."])
    def test_what_cannot_be_written(self, tmp_path, place):
        (tmp_path / "file").write_bytes(b"")
        net, twin, stopping = network(), network(), fb.EarlyStopping(3)
        train(net, epochs=1)
        train(twin, epochs=1)
        path = tmp_path / place
        with pytest.raises(OSError, match=f"path: got {str(path)!r}, expected a file in a folder that exists"):
            train(net, [stopping, fb.Checkpoint(path), lambda net, history: pytest.fail("trained")])
        assert everything(net) == everything(twin)

    def test_metadata_that_no_file_can_hold(self, tmp_path):
        net, twin = network(), network()
        net.metadata = {"threshold": np.float32(0.5)}
        with pytest.raises(TypeError, match="float32 is not JSON serializable"):
            train(net, [fb.Checkpoint(tmp_path / "run", every=9)])
        assert everything(net) == everything(twin)


def everything(net):
    """What a refused fit must leave alone; `seconds` included, and not None where a fit was before."""
    return (
        outcome(net) if net.history else (net.parameters.tobytes(), net.state.rule, net.state.moments.size, net.history)
    )


class TestAfterAFailure:
    def test_a_disk_that_is_full_after_some_epochs(self, tmp_path, monkeypatch):
        def fsync(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        def fill(net, history):
            if len(history.cost) == 3:
                monkeypatch.setattr(os, "fsync", fsync)

        net, twin = network(), network()
        with pytest.raises(OSError, match=r"No space left on device: '.*run'"):
            train(net, [fb.Checkpoint(tmp_path / "run"), fill])
        train(twin, epochs=3)
        assert outcome(net) == outcome(twin)

    def test_an_end_that_fails_ends_the_other_callbacks_too(self):
        class Failing(fb.Callback):
            def on_fit_end(self, net, history):
                raise OSError("disk full")

        settings = {"optimizer": fb.Adam(0.05), "epochs": 60}
        net, twin, stopping = network(), network(), fb.EarlyStopping(4)
        with pytest.raises(OSError, match="disk full"):
            train(net, [Failing(), stopping], **settings)
        train(twin, [fb.EarlyStopping(4)], **settings)
        assert stopping.best_epoch == len(net.history.cost) - 4  # so there was something to restore
        assert outcome(net) == outcome(twin)

    @pytest.mark.parametrize("checkpoint", [False, True])
    @pytest.mark.parametrize("method", ["on_fit_begin", "resume"])
    def test_a_beginning_that_fails_changes_nothing(self, tmp_path, method, checkpoint):
        if method == "resume" and not checkpoint:
            return
        path = tmp_path / "run"

        class Mine(fb.Callback):
            def state(self):
                return {"x": np.zeros(1)}

        class Failing(Mine):
            pass

        Failing.__name__ = "Mine"
        setattr(Failing, method, lambda *args: 1 / 0)
        net, twin = network(), network()
        for some in (net, twin):
            train(some, epochs=2)  # so that there are moments to lose
        if checkpoint:
            other = network()
            train(other, epochs=2)
            train(other, [fb.Checkpoint(path), Mine()], epochs=3)
        with pytest.raises(ZeroDivisionError):
            train(net, [Failing(), *([fb.Checkpoint(path)] if checkpoint else [])])
        assert everything(net) == everything(twin)
        train(net)
        train(twin)
        assert everything(net) == everything(twin)


def resigned(path, change):
    """Write the file anew, with a right hash, after `change` of its tensors and of what it says of the fit."""
    tensors, content = safetensors.read(path)
    change(tensors, content["checkpoint"])
    safetensors.write(path, tensors, content)


def no_change(tensors, said):
    pass


LIES = {
    "epochs of text": lambda t, said: said.update(epochs="3"),
    "epochs that are true": lambda t, said: said.update(epochs=True),
    "more epochs than figures": lambda t, said: said.update(epochs=5),
    "epochs below 0": lambda t, said: said.update(epochs=-1),
    "steps without end": lambda t, said: said.update(steps=2**70),
    "shuffles below 0": lambda t, said: said.update(epochs_shuffled=-1),
    "ended: perhaps": lambda t, said: said.update(ended="perhaps"),
    "no fit": lambda t, said: said.pop("fit"),
    "a fit of nothing": lambda t, said: said.update(fit=None),
    "another metric": lambda t, said: said.update(metrics=["precision"]),
    "metrics of numbers": lambda t, said: said.update(metrics=[1]),
    "a metric of no list": lambda t, said: t.update({"checkpoint.metrics.accuracy": np.float64(1)}),
    "costs missing": lambda t, said: t.pop("checkpoint.history.cost"),
    "a cost too few": lambda t, said: t.update({"checkpoint.history.cost": np.ones(2)}),
    "costs of NaN": lambda t, said: t["checkpoint.history.cost"].fill(np.nan),
    "costs of whole numbers": lambda t, said: t.update({"checkpoint.history.cost": np.ones(3, int)}),
    "no validation": lambda t, said: t.update({"checkpoint.history.validation_cost": np.ones(0)}),
    "parameters of NaN": lambda t, said: t["layers.2.weight"].fill(np.nan),
    "parameters missing": lambda t, said: t.pop("layers.0.bias"),
    "other parameters": lambda t, said: t.update({"layers.2.weight": np.ones((2, 9), np.float32)}),
    "parameters of float64": lambda t, said: t.update({"layers.2.weight": np.ones((2, 8))}),
    "moments of another optimizer": lambda t, said: t.update({"checkpoint.moments": t["checkpoint.moments"][:1]}),
    "moments of NaN": lambda t, said: t["checkpoint.moments"].fill(np.nan),
    "moments missing": lambda t, said: t.pop("checkpoint.moments"),
    "counters below 0": lambda t, said: t["checkpoint.counters"].fill(-3),
    "one counter": lambda t, said: t.update({"checkpoint.counters": np.ones(1, int)}),
    "stopping without a number": lambda t, said: t.update({"checkpoint.EarlyStopping.0.numbers": np.ones(0)}),
    "stopping of NaN": lambda t, said: t["checkpoint.EarlyStopping.0.numbers"].fill(np.nan),
    "best before it began": lambda t, said: t.update({"checkpoint.EarlyStopping.0.numbers": np.array([1.0, 9, 0])}),
    "best of another network": lambda t, said: t.update({"checkpoint.EarlyStopping.0.parameters": np.ones(1, np.float32)}),
}  # fmt: skip


class TestFilesThatLie:
    """Files with a right hash, whose content is none that `save` writes: nothing changes, and the sentence has the path."""

    @pytest.mark.parametrize("lie", LIES)
    def test_nothing_changes(self, tmp_path, lie):
        path = tmp_path / "run"
        train(network(), [fb.Checkpoint(path), fb.EarlyStopping(5)], epochs=3)
        resigned(path, no_change)
        train(network(), [fb.Checkpoint(path), fb.EarlyStopping(5)], epochs=3)  # it is the lie alone that is refused
        resigned(path, LIES[lie])
        before = path.read_bytes()
        net, twin, stopping = network(), network(), fb.EarlyStopping(5)
        stopping.resume({"numbers": np.array([90, 77, 0.5])})
        with pytest.raises(ValueError, match=re.escape(str(path))):
            train(net, [fb.Checkpoint(path), stopping])
        assert everything(net) == everything(twin)
        assert stopping.best_epoch == 77
        assert path.read_bytes() == before


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
    for array in (net.parameters, net.state.moments, net.state.counters, history.cost, history.validation_cost,
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
