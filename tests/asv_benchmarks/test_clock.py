"""The clock of the benchmarks: it runs as fast as the machine, and waits for cores that others use."""

import itertools
import json

import pytest


@pytest.fixture
def clock(suite, monkeypatch):
    """clock(speeds, steps): a clock on a machine of those speeds, and a wall clock that steps so many seconds a look."""
    from benchmarks import clock

    def make(speeds, step=1.0, patience=0.0):
        now = [0.0]

        def perf_counter():
            now[0] += step
            return now[0]

        monkeypatch.setattr(clock.time, "perf_counter", perf_counter)
        monkeypatch.setattr(clock.time, "sleep", lambda seconds: None)
        speeds = iter(speeds)
        made = clock.SteadyClock(clock.FullSpeeds(None), lambda: next(speeds))
        made.patience = patience
        return made

    return make


def test_at_full_speed_it_is_the_wall_clock(clock):
    steady = clock([100.0] * 4)
    readings = [steady() for _ in range(4)]
    assert [b - a for a, b in itertools.pairwise(readings)] == [1.0] * 3


def test_at_half_the_speed_it_runs_at_half_the_rate(clock):
    steady = clock([100.0, 50.0, 50.0])
    first, second, third = steady(), steady(), steady()
    assert second - first == 0.75  # on its way from full to half
    assert third - second == 0.5


def test_it_waits_for_shared_cores_but_not_for_ever(clock, capsys):
    steady = clock([100.0, 50.0, 50.0, 99.0], patience=10.0)
    steady()
    steady()
    assert steady.share == 0.99
    assert steady.patience == 8.0
    assert capsys.readouterr().err == ""
    steady = clock([100.0, 50.0, 50.0, 50.0], patience=2.0)
    steady()
    steady()
    assert steady.share == 0.5
    assert "measured on shared cores, at 50%" in capsys.readouterr().err


def test_processes_of_an_environment_share_the_full_speed(suite, tmp_path):
    from benchmarks.clock import FullSpeeds

    assert FullSpeeds(tmp_path).highest(2, 570.0) == 570.0
    assert FullSpeeds(tmp_path).highest(1, 280.0) == 280.0
    slow = FullSpeeds(tmp_path)
    assert slow.highest(2, 410.0) == 570.0
    assert json.loads((tmp_path / "full-speeds.json").read_text()) == {"1": 280.0, "2": 570.0}


def test_a_damaged_or_missing_file_does_no_harm(suite, tmp_path):
    from benchmarks.clock import FullSpeeds

    (tmp_path / "full-speeds.json").write_text("{")
    assert FullSpeeds(tmp_path).highest(2, 410.0) == 410.0
    assert FullSpeeds(tmp_path / "nowhere").highest(2, 410.0) == 410.0
