"""Fits and predictions in the workers of a search: each on one thread, so that they do not fight for the cores."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

from joblib.parallel import get_active_backend

from fastbp.compiler.live import one_thread


def one_thread_in_workers() -> AbstractContextManager:
    """Let compiled code run on one thread meanwhile in a worker of joblib, a process or a thread."""
    backend, _ = get_active_backend()
    return one_thread() if backend.nesting_level else contextlib.nullcontext()
