"""The machine and the versions that figures belong to."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from fastbp._version import __version__
from fastbp.bench.contenders import LIBRARIES
from fastbp.compiler.llvm import target_cpu
from fastbp.gemm.peak import fma_peak

SHARED = 0.8  # of the threads' peaks added up: below it they share cores


class Machine(NamedTuple):
    """peak: flop/s of the threads together, in multiply-adds of `dtype`; single_peak: of one alone."""

    cpu: str
    system: str
    threads: int
    dtype: str
    peak: float
    single_peak: float

    @property
    def crowded(self) -> bool:
        """Whether the threads got in each other's way when the peak was measured."""
        return self.peak < SHARED * self.threads * self.single_peak


def this_machine(threads: int, dtype: str) -> Machine:
    """Measures the peak."""
    peaks = fma_peak(dtype, threads), fma_peak(dtype, 1)
    return Machine(
        f"{cpu_name()} ({target_cpu()})", f"{platform.system()} {platform.machine()}", threads, dtype, *peaks
    )


def cpu_name() -> str:
    """As its maker calls it, where the system says so."""
    names = Path("/proc/cpuinfo")
    if names.exists():
        for line in names.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if asked.stdout.strip():
            return asked.stdout.strip()
    return platform.processor() or platform.machine()


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of fastbp, Python and the contenders' libraries, as they are installed; those that are not are left out."""
    distributions = [LIBRARIES[name].distribution for name in names if name != "fastbp" and is_installed(name)]
    own = {"fastbp": __version__, "python": platform.python_version()}
    return own | {distribution: version_of(distribution) for distribution in distributions}


def version_of(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # a build that goes by another name
        return "unknown"


def is_installed(name: str) -> bool:
    return importlib.util.find_spec(LIBRARIES[name].module) is not None
