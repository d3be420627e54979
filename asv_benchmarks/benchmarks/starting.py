"""From nothing to the first result: import, compilation, the compiler's cache."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cases import skip

FIRST_FIT = """
    import numpy as np
    import fastbp as fb
    net = fb.Sequential(fb.Dense(64, 32, "relu"), fb.Dense(32, 10))
    net.fit(np.zeros((64, 64), np.float32), np.zeros(64, np.int64))
"""
USERS_FUNCTION = """
    import time
    from numba import njit
    from fastbp import engine
    training = net.training("softmax_cross_entropy", "adam", 32)
    x, y = np.zeros((64, 64), np.float32), np.zeros(64, np.int64)
    engine.train_step(training, x[:32], y[:32])
    @njit
    def loop(training, x, y):
        cost = 0.0
        for k in range(0, len(x), 32):
            cost += engine.train_step(training, x[k : k + 32], y[k : k + 32])
        return cost
    began = time.perf_counter()
    loop(training, x, y)
    print(time.perf_counter() - began)
"""
EMPTY_CACHE = """
    import atexit, os, shutil, tempfile
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"])
"""


def program(text: str) -> str:
    return "\n".join(line[4:] for line in text.splitlines())


def run(text: str, **environment: str) -> str:
    """What a program prints that runs in a process of its own."""
    command = [sys.executable, "-c", program(text)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return done.stdout


class FromNothing:
    """Seconds of a new process, less what Python itself needs."""

    rounds = 1
    repeat = 1
    timeout = 300

    def timeraw_import_fastbp(self):
        return "import fastbp"

    def timeraw_import_numba(self):
        """What of it is numba's."""
        return "import numba"

    def timeraw_first_fit_with_empty_cache(self):
        return program(FIRST_FIT), program(EMPTY_CACHE)

    def timeraw_first_fit_with_full_cache(self):
        run(FIRST_FIT)
        return program(FIRST_FIT)

    timeraw_import_fastbp.repeat = timeraw_import_numba.repeat = timeraw_first_fit_with_full_cache.repeat = 5

    def check(self):
        for name in dir(self):
            if name.startswith("timeraw") and "empty" not in name:
                text = getattr(self, name)()
                compile(text if isinstance(text, str) else text[0], name, "exec")


class Compilation:
    """What one small program makes the compiler do, with an empty cache."""

    timeout = 300

    def setup_cache(self) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            cache = {"NUMBA_CACHE_DIR": folder}
            seconds = "    import time\n    began = time.perf_counter()\n{}\n    print(time.perf_counter() - began)"
            first, second = (float(run(seconds.format(FIRST_FIT), **cache)) for _ in range(2))
            files = [path for path in Path(folder).rglob("*") if path.is_file()]
            return {
                "seconds": first - second,
                "signatures": sum(path.suffix == ".nbc" for path in files),
                "bytes": sum(path.stat().st_size for path in files),
                "user's seconds": float(run(FIRST_FIT + USERS_FUNCTION, **cache)),
            }

    def track_compile_seconds(self, found):
        return found["seconds"]

    def track_compiled_signatures(self, found):
        return written(found)["signatures"]

    def track_bytes_of_cache(self, found):
        return written(found)["bytes"]

    def track_compile_seconds_of_a_users_function(self, found):
        return found["user's seconds"]

    track_compile_seconds.unit = track_compile_seconds_of_a_users_function.unit = "seconds"
    track_compiled_signatures.unit = "signatures"
    track_bytes_of_cache.unit = "bytes"

    def check(self):
        found = self.setup_cache()
        assert json.loads(json.dumps(found)) == found
        assert 0 < found["user's seconds"] < 60
        assert found["seconds"] > 0
        assert 10 < found["signatures"] < 1000 < found["bytes"] < 1e9


def written(found: dict[str, float]) -> dict[str, float]:
    """`found`, where the compiler could write its cache."""
    if not found["signatures"]:
        skip("the compiler wrote no cache")
    return found
