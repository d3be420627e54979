"""What is running: versions, the CPU as the compiler sees it, the tile chosen for it, threads, the cache."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

import numba
import numpy as np
from numba import types

from fastbp._version import __version__
from fastbp.compiler.cache import package_cache, source_hash
from fastbp.compiler.live import NoThreadingLayer, most_threads, start_threads
from fastbp.compiler.llvm import target_cpu, target_features
from fastbp.gemm.isa import blocks_for, target_isa

OPTIONAL = ("scikit-learn", "safetensors", "tqdm", "onnx", "torch")
INTERESTING = ("avx512f", "avx2", "fma", "neon", "sse2")


def versions() -> dict[str, str]:
    """Return what `show_versions` prints, by name."""
    isa, cache = target_isa(), package_cache(versions)
    other = "multiply, then add: other bits than with fused multiply-add"
    tiles = [(name, blocks_for(getattr(types, name))) for name in ("float32", "float64")]
    return {
        "fastbp": f"{__version__} (sources {source_hash()})",
        "python": f"{platform.python_version()} ({sys.platform}, {platform.machine()})",
        "numba": numba.__version__,
        "llvmlite": metadata.version("llvmlite"),
        "numpy": np.__version__,
        **{name: _version_of(name) for name in OPTIONAL},
        "CPU": target_cpu(),
        "features": " ".join(f for f in INTERESTING if f in target_features()) + f" (of {len(target_features())})",
        "instruction set": isa.name,
        "arithmetic": "fused multiply-add" if isa.fma else other,
        **{f"tile, {name}": _describe_blocks(blocks) for name, blocks in tiles},
        **threads(),
        "compiler cache": cache.cache_path or "none: no folder is writable",
    }


def threads() -> dict[str, str]:
    """Return the threading layer and its number of threads, or why there is none."""
    try:
        layer = start_threads()
    except NoThreadingLayer as error:
        return {"threading layer": f"none: {error}"}
    return {"threading layer": layer, "threads": f"{numba.get_num_threads()} of {most_threads()}"}


def _version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _describe_blocks(b) -> str:
    return f"{b.MR} x {b.NR} (lanes {b.lanes}), KC {b.KC}, MC {b.MC}, NC {b.NC}"


def show_versions() -> None:
    """Print what is needed to understand a bug report or a timing."""
    for name, value in versions().items():
        print(f"{name:18s} {value}")
