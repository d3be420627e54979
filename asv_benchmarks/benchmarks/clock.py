"""Seconds at the machine's full speed: what tells a slower commit from a slower machine.

A core does not always run alike: its clock rate moves by some hundredths, a virtual machine's two processors share one core for
minutes, another program takes its turn. A register-only loop of multiply-adds shows it within a millisecond.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numba

try:
    from fastbp.gemm.peak import fma_speed
except ImportError:  # a commit older than the measure is timed by the wall clock

    def fma_speed() -> float:
        return 1.0


SHARED = 0.9  # of the full speed: below it the cores are not ours alone
PATIENCE = 5.0  # seconds that a process waits in all for that to pass


class FullSpeeds:
    """The highest speed seen so far, by number of threads: in this process, and in all of one asv environment."""

    def __init__(self, folder: str | None):
        self.path = Path(folder, "full-speeds.json") if folder else None
        self.seen: dict[str, float] = {}

    def highest(self, threads: int, speed: float) -> float:
        """The highest, this one included."""
        key = str(threads)
        if speed > self.seen.get(key, 0.0):
            self.seen[key] = speed
            if self.path is not None:
                self._share()
        return self.seen[key]

    def _share(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for key, speed in json.loads(self.path.read_text()).items():
                self.seen[key] = max(speed, self.seen.get(key, 0.0))
        with contextlib.suppress(OSError):  # without the file a process knows its own speeds alone
            new = self.path.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(self.seen))
            os.replace(new, self.path)


class SteadyClock:
    """A timer for asv: seconds as they would have been at full speed.

    Between two readings it runs at the mean of the speeds then and now, as fractions of the highest speed seen; what a
    reading itself takes it does not count. Where cores are shared at that moment it waits, a while.
    """

    def __init__(self, full: FullSpeeds, speed=fma_speed):
        self.full, self.measure = full, speed
        self.patience = PATIENCE
        self.seconds = 0.0
        self.share, self.resumed = 1.0, time.perf_counter()

    def __call__(self) -> float:
        elapsed = time.perf_counter() - self.resumed
        share = self.wait_for_full_speed()
        self.seconds += elapsed * (self.share + share) / 2
        self.share, self.resumed = share, time.perf_counter()
        return self.seconds

    def wait_for_full_speed(self) -> float:
        """The share of the full speed, once it is no shared core's, or patience is at an end."""
        share = self.share_now()
        while share < SHARED and self.patience > 0:
            began = time.perf_counter()
            time.sleep(0.05)
            share = self.share_now()
            self.patience -= time.perf_counter() - began
            if self.patience <= 0:
                print(f"measured on shared cores, at {share:.0%} of the full speed", file=sys.stderr)
        return share

    def share_now(self) -> float:
        speed = self.measure()
        return speed / self.full.highest(numba.get_num_threads(), speed)


steady = SteadyClock(FullSpeeds(os.environ.get("ASV_ENV_DIR")))
