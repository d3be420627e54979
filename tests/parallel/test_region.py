"""The parallel region deals each part once; how many threads there are at this moment."""

import threading

import numba
import numpy as np
import pytest
from numba import cfunc, njit, types

from fastbp.compiler import live, llvm
from fastbp.parallel.region import region, run, threads_now
from fastbp.parallel.sharing import parts_for


@cfunc(types.int64(types.int64, types.int64, types.int64))
def count_part(counts, part, parts):
    place = counts + 8 * part
    llvm.write(place, llvm.read(place, types.int64) + parts)
    return 0


@njit
def run_parts(body, args, parts, parallel):
    run(region() if parallel else 0, body, args, parts)


@njit
def threads(parallel):
    return threads_now(region() if parallel else 0)


@njit
def parts_of(flops, parallel):
    return parts_for(flops, region() if parallel else 0)


@pytest.fixture(autouse=True)
def restored_threads():
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 100])
def test_each_part_runs_once_and_knows_how_many_there_are(parts):
    counts = np.zeros(parts + 1, np.int64)
    run_parts(count_part.address, counts.ctypes.data, parts, True)
    assert counts.tolist() == [parts] * parts + [0]


def test_the_region_itself_bears_no_parts(call_code):
    counts = np.zeros(1, np.int64)
    call_code(region.of(), count_part.address, counts.ctypes.data, 0)
    assert counts[0] == 0


def test_a_single_part_does_not_enter_the_region():
    counts = np.zeros(1, np.int64)
    run_parts(count_part.address, counts.ctypes.data, 1, False)  # there is no region to call
    assert counts[0] == 1


def test_the_number_of_threads_is_numbas_and_one_without_a_region():
    for n in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        numba.set_num_threads(n)
        assert (threads(True), threads(False)) == (n, 1)


def test_the_number_of_threads_follows_the_live_state():
    """A forked child has one; so has a thread that is not the main one under a layer that bears only one."""
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    seen = {}

    def look(name):
        thread = threading.Thread(target=lambda: seen.__setitem__(name, threads(True)))
        thread.start()
        thread.join()

    before = list(live._state)
    try:
        live._state[live.ONLY_MAIN_THREAD] = 1
        look("off the main thread")
        assert threads(True) == numba.config.NUMBA_NUM_THREADS
        live._state[live.SERIAL_PROCESS] = 1
        assert threads(True) == 1
    finally:
        live._state[:] = before
    look("any thread")
    assert seen == {"off the main thread": 1, "any thread": numba.config.NUMBA_NUM_THREADS}


def test_little_work_is_not_split_and_much_is_split_among_all_threads():
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert parts_of(1.0e5, True) == 1
    assert parts_of(1.0e12, True) == numba.config.NUMBA_NUM_THREADS
    assert parts_of(1.0e12, False) == 1
