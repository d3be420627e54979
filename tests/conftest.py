"""Fixtures for all tests: fresh processes, code called by address, arrays with margins that nobody may touch."""

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "4")  # results are the same for any number, also above that of the cores

import numpy as np
import pytest
from hypothesis import settings

import fastbp
from fastbp.parallel.sharing_account import always_shared

settings.register_profile("fastbp", deadline=None)  # the first example compiles
settings.load_profile("fastbp")

PACKAGE = Path(fastbp.__file__).parent
MARGIN = 70  # elements: more than a vector, more than a tile is wide
CANARY = 12345.0


def run_process(command, environment, folder, timeout):
    """The finished process; one that hangs is killed together with its children."""
    environment = {**os.environ, **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, **pipes)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


@pytest.fixture(scope="session")
def run_python(tmp_path_factory):
    """run_python(code, path, cache, timeout, **environment): run code in a fresh process that must succeed.

    `path`: folders to import from, ahead of fastbp's; `cache`: the folder of numba's cache, by default one that all
    tests of the session share; None: that of this process.
    """
    shared_cache = tmp_path_factory.mktemp("numba_cache")
    empty_folder = tmp_path_factory.mktemp("empty")  # Python would import from the current one

    def run(code, path=(), cache=shared_cache, timeout=120, **environment):
        folders = os.pathsep.join([*map(str, path), str(PACKAGE.parent), str(Path(__file__).parent)])
        environment = {"PYTHONPATH": folders, **environment}
        if cache is not None:
            environment["NUMBA_CACHE_DIR"] = str(cache)
        done = run_process([sys.executable, "-c", textwrap.dedent(code)], environment, empty_folder, timeout)
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def call_code():
    """call_code(code, *arguments): call what machine code calls by address, with int64 arguments and result."""

    def call(code, *arguments):
        kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(arguments))
        return kind(code.resolve())(*arguments)

    return call


@pytest.fixture(autouse=True, scope="session")
def sharing():
    """What threads can share they share in all tests, however busy the cores are."""
    with always_shared():
        yield


@pytest.fixture
def framed():
    """framed(shape, dtype): an array full of NaN in the middle of a buffer; nothing may write around it."""
    frames = []

    def make(shape, dtype):
        buffer = np.full([length + 2 * MARGIN for length in shape], CANARY, dtype)
        inside = tuple(slice(MARGIN, MARGIN + length) for length in shape)
        buffer[inside] = np.nan
        frames.append((buffer, inside))
        return buffer[inside]

    yield make
    for buffer, inside in frames:
        buffer[inside] = CANARY
        assert (buffer == CANARY).all(), "something was written outside an output"
