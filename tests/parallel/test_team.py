"""A team: every part of every job once, on whatever threads the region happens to have, also in a bad order or one by one."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numba import cfunc, njit, types

from fastbp.compiler import llvm
from fastbp.parallel.parts import CACHE_LINE, share
from fastbp.parallel.region import region, run, threads_now
from fastbp.parallel.team import LED, SEATS, SIZE, TEAM, claim, open_team, rest, team_bytes

MOST = 16  # members in these tests
NUMBERS = 96  # what the jobs work on
SOURCE, TARGET, MARKS, BODY, JOBS, FIRST, SECOND, ALL_MARKS = range(0, 64, 8)  # places in the arguments, in bytes
SIZES = [1, 2, 4, 8]


@cfunc(types.int64(types.int64, types.int64, types.int64))
def mix(args, part, parts):
    """A share of target = 3 source + source in another order, and a mark that says whose share it was."""
    source, target = llvm.read(args + SOURCE, types.int64), llvm.read(args + TARGET, types.int64)
    start, length = share(NUMBERS, 1, part, parts)
    for i in range(start, start + length):
        llvm.pause()  # about a microsecond in all, which gives the others time to come
        x = 3 * llvm.read(source + 8 * i, types.int64) + llvm.read(source + 8 * ((5 * i + 1) % NUMBERS), types.int64)
        llvm.write(target + 8 * i, x)
    llvm.fetch_add(llvm.read(args + MARKS, types.int64) + 8 * part, parts)
    return 0


@njit
def parts_of(job, size):
    """Of the jobs in turn: all numbers up to the size, without a period that divides it."""
    return 1 + (job * job + job // 3) % size


@cfunc(types.int64(types.int64, types.int64))
def deal_jobs(args, region):
    """Each job reads what all parts of the one before wrote; its arguments lie where those of the one before lay."""
    size, body = threads_now(region), llvm.read(args + BODY, types.int64)
    source, target = llvm.read(args + FIRST, types.int64), llvm.read(args + SECOND, types.int64)
    marks = llvm.read(args + ALL_MARKS, types.int64)
    for job in range(llvm.read(args + JOBS, types.int64)):
        llvm.write(args + SOURCE, source)
        llvm.write(args + TARGET, target)
        llvm.write(args + MARKS, marks + 8 * MOST * job)
        run(region, body, args, parts_of(job, size))
        source, target = target, source
    return 0


def one_by_one(order):
    """A region of a single thread, which runs the parts in that order of their numbers."""

    @cfunc(types.int64(types.int64, types.int64, types.int64))
    def alone(body, args, parts):
        for i in range(parts):
            llvm.call(body, (args, (i * order + (parts - 1 if order < 0 else 0)) % parts, parts))
        return 0

    return alone


IN_ORDER, IN_REVERSE = one_by_one(1), one_by_one(-1)


@njit(nogil=True)
def open_one(team, size, code, args, region):
    open_team(team, size, code, args, region)


class Jobs:
    """So many jobs over numbers of their own."""

    def __init__(self, jobs, seed=1):
        self.jobs = jobs
        self.vectors = np.random.default_rng(seed).integers(-9, 9, (2, NUMBERS))
        self.marks = np.zeros((jobs, MOST), np.int64)
        first, second = (v.ctypes.data for v in self.vectors)
        self.args = np.array([0, 0, 0, mix.address, jobs, first, second, self.marks.ctypes.data])
        self.begin = self.vectors[0].copy()

    def run(self, team, size, region):
        open_one(team, size, deal_jobs.address, self.args.ctypes.data, region)

    def check(self, size):
        """Each part ran once, and knew how many there were; and read what the others had written."""
        parts = np.array([parts_of.py_func(job, size) for job in range(self.jobs)])
        np.testing.assert_array_equal(self.marks, np.where(np.arange(MOST) < parts[:, None], parts[:, None], 0))
        x, other = self.begin, (5 * np.arange(NUMBERS) + 1) % NUMBERS
        for _ in range(self.jobs):
            x = 3 * x + x[other]
        np.testing.assert_array_equal(self.vectors[self.jobs % 2], x)


class Memory:
    """Room for a team at a cache line, full of what another left, and nothing around it may be touched."""

    def __init__(self, members=MOST):
        self.room = np.full(team_bytes(members) // 8 + 32, 0x5A5A5A5A5A5A5A5A)
        self.first = 8 + -(self.room.ctypes.data // 8) % 8
        self.end = self.first + team_bytes(members) // 8
        self.address = self.room.ctypes.data + 8 * self.first

    def check(self):
        outside = np.concatenate([self.room[: self.first], self.room[self.end :]])
        assert (outside == 0x5A5A5A5A5A5A5A5A).all()


def finishes(function, *arguments):
    """Run it in another thread, so that one that waits for ever is an error."""
    failed = []

    def guarded():
        try:
            function(*arguments)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "a member waits for one that does not come"
    if failed:
        raise failed[0]


def run_a_team(size, region, jobs=2000, memory=None):
    memory, work = memory or Memory(size), Jobs(jobs)
    work.run(memory.address, size, region)
    work.check(size)
    memory.check()


@pytest.mark.parametrize("size", SIZES)
def test_every_part_of_every_job_runs_once_and_sees_the_job_before(size):
    finishes(run_a_team, size, region.of().resolve())


@pytest.mark.parametrize("alone", [IN_ORDER, IN_REVERSE], ids=["in order", "in reverse"])
@pytest.mark.parametrize("size", [*SIZES, 16])
def test_the_first_to_come_leads_and_does_all_when_the_others_come_after_it(size, alone):
    memory = Memory(size)
    finishes(run_a_team, size, alone.address, 300, memory)
    led = memory.room[memory.first + LED // 8]
    assert led == (1 if alone is IN_ORDER else size)
    seats = memory.room[memory.first + SEATS // 8 : memory.end : CACHE_LINE // 8]
    assert (seats[1:] % 2 == 1).all(), "a part was claimed and not done"


@pytest.mark.parametrize("size", [2, 4])
def test_a_team_opens_many_times_in_the_same_memory(size):
    def run_all():
        memory = Memory(4)
        for i in range(200):
            jobs, members = 1 + i % 7, 1 + (i + size) % size
            run_a_team(members, region.of().resolve(), jobs, memory)

    finishes(run_all)


def test_a_team_without_a_job_closes():
    finishes(run_a_team, 4, region.of().resolve(), 0)


def test_two_teams_from_two_python_threads():
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(finishes, run_a_team, size, region.of().resolve(), 500) for size in (2, 3, 4, 2)]:
            done.result()


@njit(nogil=True)
def race(team, arrived, rounds):
    """Claim the same part as another thread in round after round, both at the same moment; how often it was won."""
    won = 0
    for job in range(1, rounds + 1):
        llvm.fetch_add(arrived, 1)
        turn = 0
        while llvm.atomic_read(arrived) < 2 * job:
            turn = rest(turn)
        won += claim(team, 1, job)
        won += claim(team, 1, job)  # nor may the one who won have it twice
    return won


def test_of_two_that_claim_a_part_one_wins():
    memory, arrived, rounds = Memory(2), np.zeros(1, np.int64), 5000
    memory.room[memory.first + SEATS // 8 :][CACHE_LINE // 8] = 0
    with ThreadPoolExecutor(2) as pool:
        won = [pool.submit(race, memory.address, arrived.ctypes.data, rounds) for _ in range(2)]
        assert sum(done.result() for done in won) == rounds
    memory.check()


@njit
def size_of(team):
    return threads_now(team)


def test_the_teams_address_tells_its_size():
    memory = Memory(8)
    memory.room[memory.first :][SIZE // 8] = 8
    assert size_of(memory.address | TEAM) == 8


ELSEWHERE = """
    import numba, test_team
    from fastbp.parallel.region import region

    address = region.of().resolve()
    assert numba.threading_layer() == {layer!r}, numba.threading_layer()
    for size in (1, 2, numba.config.NUMBA_NUM_THREADS):
        test_team.run_a_team(size, address, 200)
        test_team.run_a_team(size, address, 1)
"""


@pytest.mark.parametrize(
    ("layer", "environment"),
    [
        ("omp", {"NUMBA_NUM_THREADS": "16"}),
        ("omp", {"NUMBA_NUM_THREADS": "8", "OMP_THREAD_LIMIT": "1"}),
        ("omp", {"NUMBA_NUM_THREADS": "8", "OMP_THREAD_LIMIT": "3"}),
        ("omp", {"NUMBA_NUM_THREADS": "8", "OMP_DYNAMIC": "true"}),
        ("workqueue", {"NUMBA_NUM_THREADS": "2"}),
        ("workqueue", {"NUMBA_NUM_THREADS": "8"}),
    ],
    ids=lambda x: x if isinstance(x, str) else " ".join(f"{k}={v}" for k, v in x.items()),
)
def test_a_team_of_more_threads_than_cores_or_of_fewer_than_asked_for(layer, environment, run_python):
    code = ELSEWHERE.format(layer=layer)
    run_python(code, path=[Path(__file__).parent], cache=None, NUMBA_THREADING_LAYER=layer, **environment)
