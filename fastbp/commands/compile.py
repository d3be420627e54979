"""`compile`: fill the compiler's cache ahead."""

from __future__ import annotations

import argparse
from typing import Any


def add_to(commands: Any) -> None:
    compile_ = commands.add_parser("compile", help="fill the compiler's cache ahead, for containers")
    compile_.add_argument("--dtypes", type=_names, default=("float32", "float64"), metavar="LIST",
                          help="for networks of these types (float32,float64)")  # fmt: skip
    compile_.set_defaults(run=run)


def _names(text: str) -> tuple[str, ...]:
    known = ("float32", "float64")
    names = tuple(text.split(","))
    if not set(names) <= set(known):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {' or '.join(known)} or both with a comma")
    return names


def run(options: argparse.Namespace) -> int:
    """Compile all that training and prediction may need into the cache."""
    from fastbp.commands import warm_up

    warm_up.compile_all(options.dtypes, report=print)
    return 0
