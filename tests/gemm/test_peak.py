"""The limits of the machine: positive, measured once a process, and for the threads asked for."""

import numba
import numpy as np
import pytest

from fastbp.gemm import peak


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(peak, "BURSTS", 1)


@pytest.mark.parametrize("dtype", ["float32", np.float64])
def test_the_peak_is_measured_once(dtype):
    found = peak.fma_peak(dtype, 1)
    assert found > 0
    assert peak.fma_peak(np.dtype(dtype), np.int64(1)) == found


def test_all_threads_unless_told_and_their_number_stays():
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(2)
        assert peak.fma_peak() == peak.fma_peak("float32", 2)
        peak.fma_peak("float32", 1)
        assert numba.get_num_threads() == 2
    finally:
        numba.set_num_threads(before)


def test_the_speed_of_this_moment_is_measured_anew_and_the_number_of_threads_stays(monkeypatch):
    before, measure, bursts = numba.get_num_threads(), peak.Bursts.turns_per_second, []

    def counted(self):
        bursts.append(numba.get_num_threads())
        return measure(self)

    monkeypatch.setattr(peak.Bursts, "turns_per_second", counted)
    assert all(0 < peak.fma_speed(threads) < np.inf for threads in (1, 2, 1, None))
    assert bursts == [1, 2, 1, before]
    assert numba.get_num_threads() == before


def test_reading_memory(monkeypatch):
    monkeypatch.setattr(peak, "READ_BYTES", 2**22)
    measure = peak.read_bandwidth.__wrapped__
    assert measure(1) > 0
    assert measure(2) > 0


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, 10**6])
def test_threads_that_there_are_not(threads):
    with pytest.raises(ValueError, match=r"threads: got .*, expected a whole number from 1 to"):
        peak.fma_peak("float32", threads)
    with pytest.raises(ValueError, match=r"threads: got .*, expected a whole number from 1 to"):
        peak.fma_speed(threads)


@pytest.mark.parametrize("dtype", ["float16", "int64"])
def test_other_dtypes(dtype):
    with pytest.raises(ValueError, match=r"dtype: got .*, expected float32 or float64"):
        peak.fma_peak(dtype, 1)
