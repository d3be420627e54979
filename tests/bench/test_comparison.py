"""Turns, the best of rounds, ratios."""

from __future__ import annotations

import json

import pytest

from fastbp.bench import comparison
from fastbp.bench.comparison import FEWEST_STEPS, MOST_STEPS, Result, take_turns, within
from fastbp.bench.machine import Machine, cpu_name, versions
from fastbp.bench.worker import Fault
from fastbp.bench.workload import Workload

WORK = Workload((4, 8, 2), 32)


class Scripted:
    """A worker that gives the answers it was made with, and notes in `turns` when it was asked."""

    def __init__(self, name, turns, *answers):
        self.name, self.turns, self.answers = name, turns, list(answers)

    def seconds(self, work):
        assert work is WORK
        self.turns.append(self.name)
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise Fault(answer)
        return answer


def test_turns(monkeypatch):
    monkeypatch.setattr(comparison, "REST", 0)
    result, turns = Result(WORK, 1e-6), []
    workers = {
        "fastbp": Scripted("fastbp", turns, 3e-6, 2e-6, 4e-6),
        "numpy": Scripted("numpy", turns, 5e-6, "died"),
        "jax": Scripted("jax", turns, "KeyError"),
    }
    for _ in range(3):
        take_turns(result, workers)
    assert turns == ["fastbp", "numpy", "jax", "fastbp", "numpy", "fastbp"]  # who has failed is not asked again
    assert result.seconds == {"fastbp": 2e-6}
    assert result.faults == {"numpy": "died", "jax": "KeyError"}


@pytest.mark.parametrize(
    ("seconds", "ratio"),
    [({"fastbp": 2.0, "numpy": 5.0, "jax": 3.0}, 1.5), ({"fastbp": 2.0}, None), ({"jax": 1.0}, None), ({}, None)],
)
def test_ratio(seconds, ratio):
    assert Result(WORK, 1e-6, seconds).ratio == ratio


@pytest.mark.parametrize(("seconds", "steps"), [(1e-9, FEWEST_STEPS), (0.02, 200), (60, MOST_STEPS)])
def test_steps(seconds, steps):
    assert within(seconds, WORK, WORK.flops * 4e4).steps == steps


def test_json(found):
    read = json.loads(json.dumps(found.as_json()))
    assert read["machine"]["cpu"] == "Abacus 9"
    assert read["machine"]["crowded"] is False
    assert read["mean_ratio"] == pytest.approx(4)
    small = read["results"][0]
    assert (small["sizes"], small["batch_size"], small["flops"]) == ([4, 8, 2], 32, found.results[0].work.flops)
    assert (small["limit"], small["ratio"]) == (1e-6, pytest.approx(8))
    assert small["seconds"]["numpy"] == 32e-6
    assert small["faults"] == {"sklearn": "ValueError: two", "jax": "not installed"}


def test_machine():
    assert cpu_name()
    assert list(versions(["fastbp", "numpy"])) == ["fastbp", "python", "numpy"]
    assert not Machine("", "", 4, "float32", 330.0, 100.0).crowded
    assert Machine("", "", 4, "float32", 310.0, 100.0).crowded
