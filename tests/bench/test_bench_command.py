"""python -m fastbp bench."""

from __future__ import annotations

import json
import sys

import pytest

from fastbp.__main__ import main, parser
from fastbp.bench import comparison
from fastbp.bench.contenders import LIBRARIES

QUICK = ["bench", "--networks", "5-4-3@2", "--rounds", "1", "--seconds", "1e-6", "--threads", "1"]


def test_defaults():
    options = parser().parse_args(["bench"])
    assert options.networks == (
        ((4, 32, 32, 3), 32),
        ((64, 64, 10), 32),
        ((784, 128, 10), 32),
        ((784, 512, 512, 10), 128),
    )
    assert options.contenders == ("fastbp", "numpy", "sklearn", "torch", "jax")
    assert parser().parse_args(["bench", "--networks", "5-3"]).networks == (((5, 3), None),)


def test_a_run(tmp_path, monkeypatch, capsys):
    """NumPy, and a library that is missing."""
    monkeypatch.setitem(LIBRARIES, "jax", LIBRARIES["jax"]._replace(module="a_library_nobody_has"))
    monkeypatch.setattr(comparison, "REST", 0)
    chart, figures = tmp_path / "bench.png", tmp_path / "bench.json"
    contenders = ["--contenders", "numpy,jax"]
    assert main([*QUICK, "--batch-size", "7", *contenders, "--plot", str(chart), "--json", str(figures)]) == 0
    captured = capsys.readouterr()
    head, _, settings, empty, titles, row, gap, note = captured.out.splitlines()
    assert "1 thread, FMA peak " in head
    assert settings == "microseconds a step of training, relu, sgd, float32 (share of the FMA peak)"
    assert (empty, titles.split(), gap) == ("", ["network@rows", "at", "the", "peak", "NumPy", "JAX"], "")
    assert (row.split()[0], row.split()[-1]) == ("5-4-3@2", "-")
    assert note == "JAX: not installed"
    assert captured.err.endswith("fastbp: 5-4-3@2 ...\n")
    assert chart.read_bytes().startswith(b"\x89PNG")
    result = json.loads(figures.read_text())["results"][0]
    assert 0 < result["seconds"]["numpy"] < 1
    assert result["faults"] == {"jax": "not installed"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--networks 5", "--networks: got '5', expected two whole numbers >= 1 or more, as in 784-128-10"),
        ("--networks 5-4@0", "--networks: got '5-4@0', expected a whole number >= 1 after @"),
        ("--networks 5-4@", "--networks: got '5-4@', expected a whole number >= 1 after @"),
        ("--networks 5-4,7-1", "--networks: got '7-1', expected two outputs or more, one for each class"),
        ("--contenders numpy,lasagne", "got 'numpy,lasagne', expected some of fastbp,numpy,sklearn,torch,jax"),
        ("--optimizer lion", "invalid choice: 'lion'"),
        ("--activation stairs", "invalid choice: 'stairs'"),
        ("--dtype float16", "invalid choice: 'float16'"),
        ("--rounds few", "invalid int value: 'few'"),
    ],
)
def test_options_that_cannot_be_read(capsys, options, message):
    with pytest.raises(SystemExit) as left:
        main(["bench", *options.split()])
    assert left.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--rounds 0", "--rounds: got 0, expected an integer >= 1"),
        ("--seconds 0", "--seconds: got 0.0, expected a finite number > 0"),
        ("--seconds nan", "--seconds: got nan, expected a finite number > 0"),
        ("--batch-size 0", "--batch-size: got 0, expected an integer >= 1"),
        ("--threads 0", "threads: got 0, expected a whole number from 1 to "),
        ("--plot bench.doc", "--plot: got 'bench.doc', expected a file that ends with one of "),
        ("--plot none/bench.png", "--plot: got 'none/bench.png', expected a file in a folder that exists"),
        ("--json none/bench.json", "--json: got 'none/bench.json', expected a file in a folder that exists"),
    ],
)
def test_nothing_is_measured_for_nothing(monkeypatch, capsys, options, message):
    monkeypatch.setattr(comparison, "compare", lambda *arguments, **settings: pytest.fail("measured"))
    assert main(["bench", *options.split()]) == 2
    assert capsys.readouterr().err.startswith(f"fastbp: error: {message}")


def test_a_chart_without_matplotlib(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    monkeypatch.setattr(comparison, "compare", lambda *arguments, **settings: pytest.fail("measured"))
    assert main(["bench", "--plot", "bench.png"]) == 2
    assert "pip install 'fastbp[plot]'" in capsys.readouterr().err


def test_compiled_is_a_contender_more(monkeypatch):
    asked = []

    def compare(works, contenders, **settings):
        asked.append((works[0].batch_size, contenders, settings["threads"]))
        raise ImportError

    monkeypatch.setattr(comparison, "compare", compare)
    assert main(["bench", "--networks", "5-3", "--batch-size", "9", "--compiled", "--contenders", "torch"]) == 2
    assert asked[0][:2] == (9, ("torch", "torch.compile"))
