"""The command line.

Most tests put a network in NumPy in the place of the compiled one: they are about what stands around it. Those at the
end run the real one.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io as textio
import os
import subprocess
import sys
import tempfile
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import fastbp
from fastbp.__main__ import main
from fastbp.io import safetensors


class Dense:
    def __init__(self, inputs, outputs, activation="identity"):
        if activation not in ("identity", "relu"):
            raise ValueError(f"activation: got {activation!r}, expected one of identity, relu")
        self.inputs, self.outputs = inputs, outputs


class Sequential:
    """What the commands use of fastbp.Sequential: relu between the layers, Adam."""

    def __init__(self, *layers, dtype="float32", seed=0):
        normal = np.random.default_rng(seed).normal
        self.weights = [
            normal(0, np.sqrt(2 / layer.inputs), (layer.inputs + 1, layer.outputs)).astype(dtype) for layer in layers
        ]
        self.metadata = {}

    def _forward(self, x):
        activations = [np.asarray(x, np.float32)]
        for i, w in enumerate(self.weights):
            z = activations[-1] @ w[:-1] + w[-1]
            activations.append(np.maximum(z, 0) if i < len(self.weights) - 1 else z)
        return activations

    def predict(self, x):
        return self._forward(x)[-1]

    def _delta(self, output, y, loss):
        if loss == "mean_squared_error":
            return 2 * (output - y) / output.size
        p = np.exp(output - output.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        return p / len(y)

    def fit(self, x, y, *, loss, optimizer, batch_size, epochs, validation_data, metrics, callbacks, progress):
        assert progress is False
        history = SimpleNamespace(cost=[], validation_cost=[], metrics={}, learning_rate=[], seconds=[])
        random, moments, step = np.random.default_rng(0), [(0 * w, 0 * w) for w in self.weights], 0
        self.called = SimpleNamespace(loss=loss, optimizer=optimizer, batch_size=batch_size, metrics=metrics)
        try:
            for _ in range(epochs):
                order = random.permutation(len(x))
                for start in range(0, len(x), batch_size):
                    rows, step = order[start : start + batch_size], step + 1
                    self._step(x[rows], y[rows], loss, moments, step, optimizer.learning_rate)
                history.cost.append(1 / (1 + len(history.cost)))
                history.seconds.append(0.25)
                for metric in metrics:
                    right = self.predict(validation_data[0]).argmax(1) == validation_data[1]
                    history.metrics.setdefault(metric, []).append(right.mean())
                for callback in callbacks:
                    getattr(callback, "on_epoch_end", callback)(self, history)
        finally:
            for callback in callbacks:
                getattr(callback, "on_fit_end", lambda net, history: None)(self, history)
        return history

    def _step(self, x, y, loss, moments, step, rate):
        activations = self._forward(x)
        delta = self._delta(activations[-1], y, loss)
        for i in reversed(range(len(self.weights))):
            w, (m, v) = self.weights[i], moments[i]
            gradient = np.concatenate([activations[i].T @ delta, delta.sum(axis=0, keepdims=True)])
            delta = (delta @ w[:-1].T) * (activations[i] > 0)
            m += 0.1 * (gradient - m)
            v += 0.001 * (gradient**2 - v)
            w -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)

    def save(self, path, metadata=None):
        safetensors.write(path, {str(i): w for i, w in enumerate(self.weights)}, metadata or {})

    @classmethod
    def load(cls, path):
        tensors, metadata = safetensors.read(path)
        net = cls()
        net.weights = [tensors[name] for name in sorted(tensors)]
        net.metadata = metadata
        return net


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """The network in NumPy in fastbp's place, in a folder of its own."""
    monkeypatch.setattr(fastbp, "Dense", Dense, raising=False)
    monkeypatch.setattr(fastbp, "Sequential", Sequential, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(stand_in):
    """A CSV file: `value` = 3 size + (10 if red), `kind` = big if size > 0."""
    random = np.random.default_rng(0)
    with open("table.csv", "w", encoding="utf-8") as file:
        file.write("size,colour,kind,value\n")
        for size, colour in zip(random.normal(size=200), random.choice(["red", "blue"], 200), strict=True):
            kind = "big" if size > 0 else "small"
            file.write(f"{size:.4f},{colour},{kind},{3 * size + 10 * (colour == 'red'):.4f}\n")
    return "table.csv"


def out_lines(capsys):
    return capsys.readouterr().out.splitlines()


class TestTrain:
    def test_digits(self, stand_in, capsys):
        assert main(["train", "digits"]) == 0
        captured = capsys.readouterr()
        first, timing, model, last = captured.out.splitlines()
        assert first == "digits: classification, 1438 rows to train on, 359 held out, 64 features, 10 outputs"
        assert timing.startswith("50 epochs of 45 steps in ")
        assert timing.endswith(" s, 180 steps per second")  # 0.25 s an epoch, says the stand-in
        assert model == "model: digits.safetensors"
        assert last.startswith("held-out accuracy: 0.9")
        assert float(last.split(": ")[1]) >= 0.97
        progress = captured.err.splitlines()
        assert len(progress) == 50
        assert progress[1].startswith("epoch 2: cost 0.5000, accuracy 0.")

    def test_the_same_file_twice(self, stand_in):
        for out in ("1", "2"):
            assert main(["train", "digits", "--epochs", "1", "--quiet", "--out", out]) == 0
        assert (stand_in / "1").read_bytes() == (stand_in / "2").read_bytes()

    def test_options_reach_the_network(self, table, monkeypatch, capsys):
        nets = []
        real = Sequential.fit
        monkeypatch.setattr(Sequential, "fit", lambda net, *a, **k: (nets.append(net), real(net, *a, **k))[1])
        options = "--target kind --layers 7,5 --optimizer rmsprop --learning-rate 0.01 --batch-size 10 --epochs 2"
        rest = "--validation-share 0.5 --out net --quiet"
        assert main(["train", table, *options.split(), *rest.split()]) == 0
        (net,) = nets
        assert [w.shape for w in net.weights] == [(5, 7), (8, 5), (6, 2)]
        assert (net.called.optimizer.name, net.called.optimizer.learning_rate) == ("rmsprop", 0.01)
        assert (net.called.loss, net.called.metrics) == ("softmax_cross_entropy", ("accuracy",))
        assert capsys.readouterr().err == ""
        assert os.path.exists("net")

    def test_no_hidden_layer(self, table):
        assert main(["train", table, "--target", "kind", "--layers", "", "--epochs", "1"]) == 0

    def test_csv_regression_in_units_of_the_file(self, table, capsys):
        assert main(["train", table, "--target", "value", "--epochs", "60", "--layers", "32"]) == 0
        *_, r2, error = out_lines(capsys)
        assert r2.startswith("held-out R2: 0.9")
        assert error.startswith("held-out mean squared error: ")
        assert float(error.split(": ")[1]) < 1  # the variance is about 34

    def test_npz(self, stand_in, capsys):
        x = np.random.default_rng(0).normal(size=(100, 3))
        np.savez("data.npz", a=x, b=(x[:, 0] > 0))
        assert main(["train", "data.npz", "--x-key", "a", "--y-key", "b", "--epochs", "20"]) == 0
        assert float(out_lines(capsys)[-1].removeprefix("held-out accuracy: ")) > 0.8
        assert main(["train", "data.npz", "--x-key", "a", "--y-key", "b", "--task", "regression", "--epochs", "1"]) == 0
        assert out_lines(capsys)[-1].startswith("held-out mean squared error: ")

    def test_an_index_without_title_is_left_out_and_said(self, table, stand_in, capsys):
        lines = (stand_in / table).read_text().splitlines()
        numbered = [f",{lines[0]}", *(f"{i},{line}" for i, line in enumerate(lines[1:]))]
        (stand_in / "indexed.csv").write_text("\n".join(numbered))
        reports = []
        for name in (table, "indexed.csv"):
            assert main(["train", name, "--target", "kind", "--epochs", "2", "--quiet", "--out", f"{name}.net"]) == 0
            captured = capsys.readouterr()
            reports.append((captured.out.splitlines()[-1], captured.out.splitlines()[0].split(": ")[1], captured.err))
        assert reports[0][:2] == reports[1][:2]
        assert reports[1][2].startswith("fastbp: indexed.csv: left out column 0 (''), which numbers")
        assert main(["predict", "indexed.csv.net", table]) == main(["predict", "table.csv.net", "indexed.csv"]) == 0

    def test_what_is_known_of_a_file_is_said_by_options(self, stand_in, capsys):
        rows = "".join(f"{i};{i % 4},250;{['2', '3', '4more'][i % 3]};{i % 2}\n" for i in range(60))
        (stand_in / "data.csv").write_text(f"# made by hand\n{rows}")
        reading = ["--header", "no", "--delimiter", ";", "--decimal", ",", "--comment", "#"]
        command = ["train", "data.csv", "--target", "x3", "--drop", "x0", "--categories", "x2", "--quiet"]
        assert main([*command, *reading, "--epochs", "1"]) == 0
        assert "4 features, 2 outputs" in out_lines(capsys)[0]
        assert main(["predict", "data.safetensors", "data.csv", *reading]) == 0
        assert len(out_lines(capsys)) == 61

    def test_a_compressed_table_with_tabs(self, table, stand_in):
        text = (stand_in / table).read_text().replace(",", "\t")
        (stand_in / "table.tsv.gz").write_bytes(gzip.compress(text.encode()))
        assert main(["train", "table.tsv.gz", "--target", "kind", "--epochs", "1", "--quiet"]) == 0
        assert main(["predict", "table.safetensors", "table.tsv.gz"]) == 0
        assert main(["predict", "table.safetensors", table]) == 0

    def test_labels_reach_the_predictions_as_the_file_has_them(self, stand_in, capsys):
        rows = "".join(f"{i % 2 + i / 100},{['007', '12345678901234567890'][i % 2]}\n" for i in range(60))
        (stand_in / "data.csv").write_text("a,y\n" + rows)
        assert main(["train", "data.csv", "--target", "y", "--epochs", "9", "--quiet"]) == 0
        capsys.readouterr()
        assert main(["predict", "data.safetensors", "data.csv"]) == 0
        header, *predictions = out_lines(capsys)
        assert header == "y,probability_007,probability_12345678901234567890"
        assert {line.split(",")[0] for line in predictions} == {"007", "12345678901234567890"}

    def test_the_time_and_the_speed_it_prints_agree(self, table, monkeypatch, capsys):
        real = Sequential.fit

        def fit(net, *args, **options):
            history = real(net, *args, **options)
            history.seconds[:] = [0.6, 0.005, 0.005]  # the first epoch compiled
            return history

        monkeypatch.setattr(Sequential, "fit", fit)
        assert main(["train", table, "--target", "kind", "--epochs", "3", "--quiet"]) == 0
        expected = "3 epochs of 5 steps in 0.61 s, 25 steps per second, 1,000 after the first epoch"
        assert out_lines(capsys)[1] == expected

    def test_a_bar_on_a_terminal(self, table, monkeypatch):
        class Terminal(textio.StringIO):
            def isatty(self):
                return True

        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setattr(Sequential, "fit", with_fit_begin(Sequential.fit))
        assert main(["train", table, "--target", "kind", "--epochs", "2"]) == 0
        assert "2/2" in sys.stderr.getvalue()
        assert "accuracy=" in sys.stderr.getvalue()

    @pytest.mark.parametrize("threads", ["0", "100000"])
    def test_impossible_threads(self, table, capsys, threads):
        assert main(["train", table, "--target", "kind", "--threads", threads]) == 2
        assert f"fastbp: error: --threads: got {threads}, expected 1 to " in capsys.readouterr().err

    def test_one_thread(self, table):
        from fastbp.compiler.jit import numba

        before = numba.get_num_threads()
        try:
            assert main(["train", table, "--target", "kind", "--threads", "1", "--epochs", "1"]) == 0
            assert numba.get_num_threads() == 1
        finally:
            numba.set_num_threads(before)


def with_fit_begin(fit):
    def begun(net, *args, callbacks, **options):
        for callback in callbacks:
            getattr(callback, "on_fit_begin", lambda net, history: None)(net, None)
        return fit(net, *args, callbacks=callbacks, **options)

    return begun


def full_disk(descriptor):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_in_the_end_loses_no_model(table, monkeypatch, capsys, tmp_path):
    calls, real = [], os.fsync

    def full_at_first(descriptor):
        calls.append(descriptor)
        full_disk(descriptor) if len(calls) == 1 else real(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_first)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["train", table, "--target", "kind", "--quiet"]) == 2
    sentence = capsys.readouterr().err
    assert "No space left on device: 'table.safetensors'; the model is in " in sentence
    assert main(["predict", sentence.split()[-2], table]) == 0


class TestOutputs:
    """What cannot be written at the end is refused at the beginning, and no file that is read is overwritten."""

    @pytest.fixture
    def untrained(self, monkeypatch):
        """Fails the test where a network is trained or used."""

        def used(*args, **options):
            raise AssertionError("too late")

        monkeypatch.setattr(Sequential, "fit", used)
        monkeypatch.setattr(Sequential, "predict", used)

    @pytest.mark.parametrize(
        "out", ["none/net", ".", "table.csv", "./table.csv", os.devnull, "n" * 300, "table.csv/net"]
    )
    def test_train(self, table, untrained, stand_in, capsys, out):
        before = (stand_in / table).read_bytes()
        assert main(["train", table, "--target", "kind", "--out", out]) == 2
        assert capsys.readouterr().err.startswith(f"fastbp: error: --out: got {out.removeprefix('./')!r}, ")
        assert os.listdir() == [table]
        assert (stand_in / table).read_bytes() == before

    @pytest.mark.parametrize("out", ["none/p.csv", ".", "table.csv", "net"])
    def test_predict(self, table, monkeypatch, stand_in, capsys, out):
        assert main(["train", table, "--target", "kind", "--epochs", "1", "--quiet", "--out", "net"]) == 0
        before = [(stand_in / name).read_bytes() for name in (table, "net")]
        monkeypatch.setattr(Sequential, "load", None)
        assert main(["predict", "net", table, "--out", out]) == 2
        assert f"fastbp: error: --out: got {out!r}, " in capsys.readouterr().err
        assert [(stand_in / name).read_bytes() for name in (table, "net")] == before

    def test_export(self, stand_in, capsys):
        assert main(["train", "digits", "--epochs", "1", "--quiet", "--layers", "", "--out", "net"]) == 0
        before = (stand_in / "net").read_bytes()
        for out in ("net", "none/net.onnx", "."):
            assert main(["export", "net", "--out", out]) == 2
            assert f"fastbp: error: --out: got {out!r}, " in capsys.readouterr().err
        assert (stand_in / "net").read_bytes() == before

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
    def test_a_device_that_is_full(self, table, capsys):
        assert main(["train", table, "--target", "kind", "--epochs", "1", "--quiet", "--out", "net"]) == 0
        assert main(["predict", "net", table, "--out", "/dev/full"]) == 2
        assert capsys.readouterr().err == "fastbp: error: [Errno 28] No space left on device: '/dev/full'\n"

    def test_progress_that_nobody_reads_ends_no_training(self, table, stand_in, monkeypatch):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            monkeypatch.setattr(sys, "stderr", pipe)
            assert main(["train", table, "--target", "kind", "--epochs", "3"]) == 0
            monkeypatch.undo()
        assert (stand_in / "table.safetensors").exists()

    def test_predictions_without_a_stdout(self, table, monkeypatch, capsys):
        assert main(["train", table, "--target", "kind", "--epochs", "1", "--quiet", "--out", "net"]) == 0
        monkeypatch.setattr(sys, "stdout", None)
        assert main(["predict", "net", table]) == 2
        assert capsys.readouterr().err == "fastbp: error: --out: got none, and stdout is closed, expected a file\n"


class TestInterrupt:
    @pytest.fixture
    def interrupt_after(self, monkeypatch):
        """Ctrl-C in the step after so many."""

        def interrupt_after(steps):
            real = Sequential._step

            def step(net, x, y, loss, moments, number, rate):
                if number > steps:
                    raise KeyboardInterrupt
                real(net, x, y, loss, moments, number, rate)

            monkeypatch.setattr(Sequential, "_step", step)

        return interrupt_after

    def test_the_model_so_far_is_kept(self, table, interrupt_after, capsys):
        interrupt_after(12)  # epochs have 5 steps
        assert main(["train", table, "--target", "kind", "--quiet"]) == 130
        captured = capsys.readouterr()
        assert captured.err == "fastbp: interrupted: the model after 2 finished epochs is in table.safetensors\n"
        assert main(["predict", "table.safetensors", table]) == 0

    def test_in_the_midst_of_writing_the_model(self, table, monkeypatch, capsys):
        calls, real = [], Sequential.save

        def save(net, *args, **options):
            calls.append(net)
            if len(calls) == 1:
                raise KeyboardInterrupt
            real(net, *args, **options)

        monkeypatch.setattr(Sequential, "save", save)
        assert main(["train", table, "--target", "kind", "--quiet", "--epochs", "3"]) == 130
        assert "interrupted: the model after 3 finished epochs is in table.safetensors" in capsys.readouterr().err
        assert main(["predict", "table.safetensors", table]) == 0

    def test_an_older_model_is_not_lost_to_one_that_learned_nothing(self, table, interrupt_after, capsys):
        interrupt_after(2)
        assert main(["train", table, "--target", "kind", "--quiet"]) == 130
        assert capsys.readouterr().err == "fastbp: interrupted: no epoch was finished, no model written\n"
        assert not os.path.exists("table.safetensors")

    def test_elsewhere(self, monkeypatch, capsys):
        def interrupted():
            raise KeyboardInterrupt

        monkeypatch.setattr(fastbp, "show_versions", interrupted, raising=False)
        assert main(["info"]) == 130
        assert capsys.readouterr().err == "fastbp: interrupted\n"


class TestPredict:
    @pytest.fixture
    def trained(self, table):
        """Trains on a column of the table and returns the name of the model file."""

        def trained(target):
            assert main(["train", table, "--target", target, "--epochs", "60", "--quiet", "--layers", "32"]) == 0
            return "table.safetensors"

        return trained

    def test_classes_and_probabilities(self, trained, table, capsys):
        model = trained("kind")
        capsys.readouterr()
        assert main(["predict", model, table]) == 0
        rows = list(csv.DictReader(textio.StringIO(capsys.readouterr().out)))
        with open(table, encoding="utf-8") as file:
            truth = [row["kind"] for row in csv.DictReader(file)]
        assert list(rows[0]) == ["kind", "probability_big", "probability_small"]
        assert np.mean([row["kind"] == kind for row, kind in zip(rows, truth, strict=True)]) > 0.9
        for row in rows:
            assert float(row["probability_big"]) + float(row["probability_small"]) == pytest.approx(1, abs=1e-5)

    def test_numbers_to_a_file(self, trained, table, capsys):
        model = trained("value")
        capsys.readouterr()
        assert main(["predict", model, table, "--out", "predictions.csv"]) == 0
        assert capsys.readouterr().out == ""
        found, truth = (
            np.array([float(row["value"]) for row in csv.DictReader(open(name, encoding="utf-8"))])  # noqa: SIM115
            for name in ("predictions.csv", table)
        )
        assert np.mean((found - truth) ** 2) < 1

    def test_digits(self, stand_in, capsys):
        assert main(["train", "digits", "--epochs", "3", "--quiet"]) == 0
        capsys.readouterr()
        assert main(["predict", "digits.safetensors", "digits"]) == 0
        lines = out_lines(capsys)
        assert lines[0].startswith("digit,probability_0,probability_1,")
        assert len(lines) == 1798

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("size,colour,value\n1,green,2\n", "row 0 (line 2), column 'colour': got 'green', expected one of blue"),
            ("size,value\n1,2\n", "other.csv: got the columns size, value, expected also colour"),
            ("size,colour,value\nbig,red,2\n", "column 'size': got 'big', expected a number"),
        ],
    )
    def test_data_that_do_not_fit_the_model(self, trained, stand_in, capsys, text, message):
        model = trained("kind")
        (stand_in / "other.csv").write_text(text)
        assert main(["predict", model, "other.csv"]) == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize("to_file", [False, True])
    def test_labels_that_stdout_cannot_encode(self, stand_in, monkeypatch, to_file):
        rows = "".join(f"{i % 2},{'né' if i % 2 else 'ül'}\n" for i in range(40))
        (stand_in / "data.csv").write_text("a,über\n" + rows, encoding="utf-8")
        stdout = textio.TextIOWrapper(textio.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["train", "data.csv", "--target", "über", "--epochs", "1", "--quiet"]) == 0
        out = ["--out", "predictions.csv"] if to_file else []
        assert main(["predict", "data.safetensors", "data.csv", *out]) == 0
        if to_file:
            found = (stand_in / "predictions.csv").read_text(encoding="utf-8")
            assert found.startswith("über,probability_né,probability_ül\n")
        else:
            assert b"\\xfcber,probability_n\\xe9,probability_\\xfcl\n" in stdout.buffer.getvalue()

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
    def test_a_full_disk_behind_stdout(self):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "fastbp", "info"]
            found = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=600)
        assert found.returncode == 2
        assert found.stderr.startswith("fastbp: error: ")
        assert found.stderr.endswith("No space left on device\n")
        assert found.stderr.count("\n") == 1

    def test_a_network_without_a_recipe(self, stand_in, capsys):
        Sequential(Dense(2, 1)).save("plain")
        assert main(["predict", "plain", "digits"]) == 2
        assert "plain: a network saved without its recipe, expected a file that `train`" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "lie",
        [
            lambda recipe: None,
            lambda recipe: [],
            lambda recipe: {**recipe, "classes": 3},
            lambda recipe: {**recipe, "classes": ["a"]},
            lambda recipe: {**recipe, "features": ["size"]},
            lambda recipe: {**recipe, "columns": [["size"]]},
            lambda recipe: {**recipe, "x": {"mean": ["much"], "scale": [1]}},
            lambda recipe: {**recipe, "x": {"mean": [1.0], "scale": [1.0]}},
            lambda recipe: {name: value for name, value in recipe.items() if name != "task"},
        ],
    )
    def test_a_recipe_that_lies(self, trained, table, capsys, lie):
        model = trained("kind")
        tensors, metadata = safetensors.read(model)
        safetensors.write(model, tensors, {"recipe": lie(metadata["recipe"])})
        capsys.readouterr()
        assert main(["predict", model, table]) == 2
        assert capsys.readouterr().err.startswith(f"fastbp: error: {model}: got a recipe ")

    def test_predictions_are_there_whole_or_not_at_all(self, trained, table, capsys, monkeypatch):
        model = trained("kind")
        capsys.readouterr()
        monkeypatch.setattr(os, "fsync", full_disk)
        assert main(["predict", model, table, "--out", "predictions.csv"]) == 2
        assert "No space left on device: 'predictions.csv'" in capsys.readouterr().err
        assert not os.path.exists("predictions.csv")

    def test_a_damaged_model(self, trained, table, capsys):
        model = trained("kind")
        with open(model, "r+b") as file:
            file.truncate(100)
        assert main(["predict", model, table]) == 2
        assert "fastbp: error: table.safetensors: truncated" in capsys.readouterr().err

    def test_a_reader_that_has_enough(self, trained, table, monkeypatch):
        model = trained("kind")
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            monkeypatch.setattr(sys, "stdout", pipe)
            assert main(["predict", model, table]) == 1
            monkeypatch.undo()


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("table.csv", "--target: got none, expected the column of table.csv to predict, one of size, colour, kind"),
            ("table.csv --target price", "target: got 'price', expected a column of table.csv: size, colour, kind"),
            ("none.csv --target kind", "No such file or directory: 'none.csv'"),
            ("none.npz", "No such file or directory: 'none.npz'"),
            ("table.parquet", "got 'table.parquet', expected digits, a .csv or an .npz file"),
            ("table.csv --target kind --task regression", "expected numbers for regression"),
            ("digits --optimizer lion", "optimizer: got 'lion', expected one of sgd, adam"),
            ("digits --activation step", "activation: got 'step', expected one of identity, relu"),
            ("digits --learning-rate -1", "learning_rate: got -1.0, expected a finite number >= 0"),
            ("digits --validation-share 1", "share: got 1.0, expected a finite number > 0 and < 1"),
            ("digits --target kind", "--target: got 'kind', expected it with a .csv or .tsv alone"),
            ("digits --header no", "--header: got 'no', expected it with a .csv or .tsv alone"),
            ("table.csv --target kind --drop price", "drop: got 'price', expected a column of table.csv: size, colour"),
            ("table.csv --target kind --delimiter ;;", "delimiter: got ';;', expected one character"),
            ("digits --seed -1", "--seed: got -1, expected an integer >= 0"),
            ("digits --out none/net", "--out: got 'none/net', expected a file in a folder that exists"),
            ("digits --out table.csv/net", "--out: got 'table.csv/net', expected a file in a folder that exists"),
            ("digits --out .", "--out: got '.', expected a file in a folder that exists and can be written to (not a"),
        ],
    )
    def test_one_line_and_code_2(self, table, capsys, arguments, message):
        assert main(["train", *arguments.split(), "--quiet"]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("fastbp: error: ")
        assert message in captured.err
        assert captured.err.count("\n") == 1
        assert "held-out accuracy" not in captured.out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "the following arguments are required: COMMAND"),
            (["fly"], "invalid choice: 'fly'"),
            (["train"], "required: digits|FILE"),
            (["train", "digits", "--layers", "9,x"], "--layers: got '9,x', expected whole numbers >= 1 as in 128,64"),
            (["train", "digits", "--layers", "0"], "--layers: got '0'"),
            (["train", "digits", "--epochs", "many"], "invalid int value: 'many'"),
            (["train", "digits", "--task", "ranking"], "invalid choice: 'ranking'"),
            (["compile", "--dtypes", "float16"], "--dtypes: got 'float16', expected float32 or float64 or both"),
        ],
    )
    def test_bad_options(self, capsys, arguments, message):
        with pytest.raises(SystemExit) as error:
            main(arguments)
        assert error.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("usage: fastbp")
        assert lines[-1].startswith("fastbp: error: ")
        assert message in lines[-1]

    def test_an_error_in_the_program_itself_is_not_hidden(self, monkeypatch):
        def broken():
            raise AssertionError("a bug")

        monkeypatch.setattr(fastbp, "show_versions", broken, raising=False)
        with pytest.raises(AssertionError):
            main(["info"])


def test_compile(monkeypatch):
    calls = []
    warm = ModuleType("fastbp.commands.warm_up")
    warm.compile_all = lambda dtypes, report: calls.append(dtypes)
    monkeypatch.setitem(sys.modules, "fastbp.commands.warm_up", warm)
    monkeypatch.setattr("fastbp.commands.warm_up", warm, raising=False)
    assert main(["compile"]) == 0
    assert main(["compile", "--dtypes", "float64"]) == 0
    assert calls == [("float32", "float64"), ("float64",)]


def test_info(monkeypatch, capsys):
    monkeypatch.setattr(fastbp, "show_versions", lambda: print("fastbp 0.1"), raising=False)
    assert main(["info"]) == 0
    assert capsys.readouterr().out == "fastbp 0.1\n"


# ------------------------------------------------------------------------------------------- the network of the package


class TestRealNetwork:
    def test_the_main_job(self, tmp_path):
        """As a user types it: train, then predict; the same model file twice, byte for byte."""

        def run(*arguments):
            command = [sys.executable, "-m", "fastbp", *arguments]
            return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=600)

        last = run("train", "digits").stdout.splitlines()[-1]
        assert last.startswith("held-out accuracy: 0.9")
        assert float(last.split(": ")[1]) >= 0.97
        again = run("train", "digits", "--threads", "1", "--quiet", "--out", "again.safetensors")
        assert again.stderr == "" or "compiling" in again.stderr
        assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "digits.safetensors").read_bytes()
        predictions = run("predict", "digits.safetensors", "digits").stdout.splitlines()
        assert len(predictions) == 1798

    def test_regression(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        x = np.random.default_rng(0).normal(size=(500, 3))
        np.savez("data.npz", x=x, y=np.stack([100 + 5 * x[:, 0], x[:, 1] - x[:, 2]], axis=1))
        assert main(["train", "data.npz", "--epochs", "40"]) == 0
        r2 = next(line for line in out_lines(capsys) if line.startswith("held-out R2: "))
        assert float(r2.split(": ")[1]) > 0.95
        assert main(["predict", "data.safetensors", "data.npz"]) == 0
        assert out_lines(capsys)[0] == "y0,y1"

    def test_explain(self, monkeypatch, capsys):
        from fastbp.inspect import probe

        monkeypatch.setattr(probe, "SECONDS", 0.0)
        command = ["explain", "20-16-3", "--batch-size", "8", "--activation", "tanh", "--threads", "1"]
        threads = fastbp.compiler.jit.numba.get_num_threads()
        try:
            assert main([*command, "--optimizer", "adam", "--dtype", "float64"]) == 0
        finally:
            fastbp.compiler.jit.numba.set_num_threads(threads)
        head, *_, step = out_lines(capsys)
        assert head.startswith("8 rows a step, float64, 1 thread, ")
        assert step.split()[0] == "step"

    def test_a_mistyped_activation_where_no_layer_has_it(self, capsys):
        assert main(["explain", "20-3", "--activation", "stairs"]) == 2
        assert "activation: got 'stairs', expected one of identity" in capsys.readouterr().err

    @pytest.mark.parametrize("options", [["--loss", "hinge"], ["--batch-size", "0"], ["--threads", "0"]])
    def test_mistakes_of_explain(self, capsys, options):
        assert main(["explain", "20-16-3", *options]) == 2
        assert capsys.readouterr().err.startswith("fastbp: error: ")

    @pytest.mark.parametrize("sizes", ["20", "20-", "20-0-3", "a-b", "20,16,3"])
    def test_sizes_that_are_none(self, capsys, sizes):
        with pytest.raises(SystemExit) as left:
            main(["explain", sizes])
        assert left.value.code == 2
        assert "expected two whole numbers >= 1 or more, as in 784-128-10" in capsys.readouterr().err

    @pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--batch-size", "0"], ["--activation", "stairs"]])
    def test_mistakes(self, tmp_path, monkeypatch, capsys, arguments):
        monkeypatch.chdir(tmp_path)
        assert main(["train", "digits", *arguments]) == 2
        assert capsys.readouterr().err.startswith("fastbp: error: ")


def test_help_from_a_process_of_its_own():
    found = subprocess.run(
        [sys.executable, "-m", "fastbp", "--help"], capture_output=True, text=True, check=True, timeout=600
    )
    for command in ("train", "predict", "explain", "bench", "export", "compile", "info"):
        assert command in found.stdout


def test_nothing_heavy_is_imported_for_help():
    code = """
import sys
before = set(sys.modules)
import fastbp
package = set(sys.modules)
from fastbp.__main__ import parser
parser()
print(sorted({"numba", "numpy", "safetensors", "tqdm", "sklearn"} & (set(sys.modules) - package)))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert found.stdout == "[]\n"


def test_export(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    model = tmp_path / "net.safetensors"
    fastbp.Sequential(fastbp.Dense(4, 3, "relu"), fastbp.Dense(3, 2)).save(model)
    assert main(["export", str(model), "--output", "softmax"]) == 0
    assert capsys.readouterr().out == f"model: {tmp_path / 'net.onnx'}\n"
    assert [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node][-1] == "Softmax"
    assert main(["export", str(tmp_path / "none.safetensors")]) == 2
