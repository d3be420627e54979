"""Fits and predictions in the workers of a search: each on one thread, lest they fight for the cores."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

from joblib.parallel import get_active_backend

from fastbp.compiler.live import one_thread


def one_thread_in_workers() -> AbstractContextManager:
    """In a worker of joblib, be it a process or a thread, compiled code runs on one thread meanwhile."""
    backend, _ = get_active_backend()
    return one_thread() if backend.nesting_level else contextlib.nullcontext()
