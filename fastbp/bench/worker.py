"""A contender in a process of its own, which stays alive and times one workload after another."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import timeit
from collections.abc import Iterator
from multiprocessing.connection import Connection

from fastbp.bench.contenders import Contender, start
from fastbp.bench.workload import Workload

COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS")
PLATFORM = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}  # the comparison is of CPUs
TIMINGS = 2  # of a workload in one turn; the first one may find cold caches
END_SECONDS = 5


class Fault(Exception):  # noqa: N818 (it is reported, not raised to the user)
    """Why a contender has no figure."""


class Worker:
    """The process of the contender `name`, with `threads` threads."""

    def __init__(self, name: str, threads: int):
        spawning = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawning.Pipe()
        self.process = spawning.Process(target=serve, args=(theirs, name), daemon=True)
        with limited_to(threads):
            self.process.start()
        theirs.close()

    def seconds(self, work: Workload) -> float:
        """Return the seconds of a step in the faster of two epochs; an epoch of a new workload is run before them, untimed.

        Fault where the process fails.
        """
        try:
            self.pipe.send(work)
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(END_SECONDS)
            raise Fault(f"its process ended with exit code {self.process.exitcode}") from None
        if isinstance(answer, str):
            raise Fault(answer)
        return answer

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.join(END_SECONDS)
        self.process.kill()


@contextlib.contextmanager
def limited_to(threads: int) -> Iterator[None]:
    """Let processes started meanwhile use `threads` threads and, where the system can be told, as many cores: some libraries
    count the cores whatever the variables say."""
    environment, has_affinity = dict(os.environ), hasattr(os, "sched_setaffinity")
    cores = os.sched_getaffinity(0) if has_affinity else set()
    os.environ.update(dict.fromkeys(COUNTS, str(threads)) | PLATFORM)
    if has_affinity:
        os.sched_setaffinity(0, sorted(cores)[:threads])
    try:
        yield
    finally:
        if has_affinity:
            os.sched_setaffinity(0, cores)
        os.environ.clear()
        os.environ.update(environment)


def serve(pipe: Connection, name: str) -> None:
    """Answer each Workload with the seconds of a step, or the sentence that says why not, until the pipe is closed."""
    silence()
    ready: dict[Workload, Contender] = {}
    with contextlib.suppress(EOFError):
        while True:
            work = pipe.recv()
            try:
                pipe.send(timed(ready, name, work))
            except Exception as error:
                pipe.send(f"{type(error).__name__}: {error}".splitlines()[0])


def silence() -> None:
    """Discard what libraries print in this process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def timed(ready: dict[Workload, Contender], name: str, work: Workload) -> float:
    """Return the seconds of a step; `ready` keeps the contender of the last workload for the next turn."""
    if work not in ready:
        ready.clear()
        ready[work] = start(name, work)
        ready[work].run()  # compiles
    return min(timeit.repeat(ready[work].run, number=1, repeat=TIMINGS)) / work.steps
