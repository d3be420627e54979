"""The machine and the versions that figures belong to."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fastbp._version import __version__
from fastbp.bench.contenders import LIBRARIES
from fastbp.compiler.llvm import target_cpu
from fastbp.gemm.peak import fma_peak

SHARED = 0.8  # threads that reach a smaller part of their single peaks, added up, share cores


@dataclass(frozen=True)
class Machine:
    """What the figures were measured on. peak: flop/s of all threads together, in multiply-adds of `dtype`; single_peak: of
    one thread alone."""

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
    """Measure the peak, and name the machine."""
    peaks = fma_peak(dtype, threads), fma_peak(dtype, 1)
    return Machine(
        f"{cpu_name()} ({target_cpu()})", f"{platform.system()} {platform.machine()}", threads, dtype, *peaks
    )


def cpu_name() -> str:
    """Return the maker's name of the CPU where the system tells it, else that of the architecture."""
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
    """Return the installed versions of fastbp, Python and the contenders' libraries, by name."""
    distributions = [LIBRARIES[name].distribution for name in names if name != "fastbp" and is_installed(name)]
    own = {"fastbp": __version__, "python": platform.python_version()}
    return own | {distribution: version_of(distribution) for distribution in distributions}


def version_of(distribution: str) -> str:
    """Return the installed version of a distribution."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # a build that goes by another name
        return "unknown"


def is_installed(name: str) -> bool:
    """Return whether the library of that contender is there."""
    return importlib.util.find_spec(LIBRARIES[name].module) is not None
