"""The option --threads of commands that compute in this process."""

from __future__ import annotations


def use_threads(threads: int | None) -> None:
    """Let numba use `threads` threads from now on; None changes nothing."""
    if threads is not None:
        from fastbp.compiler.jit import numba
        from fastbp.compiler.live import most_threads, start_threads

        start_threads()
        try:
            numba.set_num_threads(threads)
        except ValueError as error:
            raise ValueError(f"--threads: got {threads}, expected 1 to {most_threads()} on this machine") from error
