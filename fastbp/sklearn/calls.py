"""Calls that are refused leave an estimator as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def unchanged_if_refused(estimator: Any) -> Iterator[None]:
    """An exception takes back the attributes that were set meanwhile."""
    before = dict(estimator.__dict__)
    try:
        yield
    except BaseException:
        for name in estimator.__dict__.keys() - before.keys():
            del estimator.__dict__[name]
        estimator.__dict__.update(before)
        raise
