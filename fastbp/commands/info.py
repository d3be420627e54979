"""`info`: what to put into a bug report."""

from __future__ import annotations

import argparse
from typing import Any


def add_to(commands: Any) -> None:
    info = commands.add_parser("info", help="print versions, CPU, tile, threads and cache folder")
    info.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print versions, CPU, tile, threads and cache folder."""
    import fastbp as fb

    fb.show_versions()
    return 0
