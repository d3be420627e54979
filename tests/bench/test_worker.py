"""Contenders in processes of their own."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from fastbp.bench.worker import COUNTS, Fault, Worker, limited_to, timed
from fastbp.bench.workload import Workload

WORK = Workload((3, 4, 2), 2, steps=10)


@pytest.fixture
def numpy_worker():
    worker = Worker("numpy", 1)
    yield worker
    worker.close()
    assert not worker.process.is_alive()


def test_answers_and_faults(numpy_worker):
    assert 0 < numpy_worker.seconds(WORK) < 1
    with pytest.raises(Fault, match=r"^KeyError: 'stairs'$"):
        numpy_worker.seconds(replace(WORK, activation="stairs"))
    assert 0 < numpy_worker.seconds(WORK) < 1  # it goes on after a fault


def test_a_process_that_dies(numpy_worker):
    numpy_worker.process.kill()
    with pytest.raises(Fault, match=r"^its process ended with exit code "):
        numpy_worker.seconds(WORK)


def test_a_workload_is_started_once():
    ready = {}
    timed(ready, "numpy", WORK)
    contender = ready[WORK]
    timed(ready, "numpy", WORK)
    assert ready == {WORK: contender}
    timed(ready, "numpy", replace(WORK, batch_size=4))
    assert len(ready) == 1


def test_limited_to(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "4")
    affinity = getattr(os, "sched_getaffinity", lambda process: {0})
    cores = affinity(0)
    with limited_to(1):
        assert {os.environ[name] for name in COUNTS} == {"1"}
        assert len(affinity(0)) == 1
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["NUMBA_NUM_THREADS"] == "4"
    assert affinity(0) == cores
