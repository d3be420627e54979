"""The commands of `python -m fastbp`, a module each: `add_to(commands)` describes its options, `run(options)` does it.

`run` returns the exit code. What imports numba is imported in the functions that need it, so that --help and a mistyped option
answer at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def say(message: str) -> None:
    """Print a message to stderr; where that fails, since its reader has gone or its disk is full, go on without."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Let a stream that cannot be written write to nowhere: otherwise the flush at exit would fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def check_output(option: str, path: str | os.PathLike, *inputs: str | os.PathLike) -> None:
    """Raise, before anything else is done, ValueError or OSError for a file that cannot be written, or is one of the inputs."""
    from fastbp.io.files import check_writable

    check_writable(option, path)
    if Path(path).exists() and any(Path(name).exists() and Path(name).samefile(path) for name in inputs):
        raise ValueError(f"{option}: got {os.fspath(path)!r}, which is read too, expected another file")
