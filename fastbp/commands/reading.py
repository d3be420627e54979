"""The options that say how a table of text is written."""

from __future__ import annotations

import argparse
from typing import Any

READING = ("delimiter", "decimal", "header", "comment")


def add_reading_options(add: Any) -> None:
    """Add the options, for tables whose form cannot be told from the file."""
    add("--delimiter", type=_character, metavar="CHAR", help="between the cells of a .csv: as ';', or: tab (told)")
    add("--decimal", choices=(".", ","), help="the decimal mark of its numbers (told)")
    add("--header", choices=("yes", "no"), help="its first line holds titles; without, columns are x0, x1, ... (yes)")
    add("--comment", metavar="TEXT", help="its lines that begin with TEXT are no rows (# above the header)")


def _character(text: str) -> str:
    return "\t" if text == "tab" else text


def reading_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say of a table, as `fastbp.data.files` takes it."""
    header = None if options.header is None else options.header == "yes"
    return {
        "delimiter": options.delimiter, "decimal": options.decimal, "header": header, "comment": options.comment,
    }  # fmt: skip


def require_none(options: argparse.Namespace, *names: str) -> None:
    """ValueError for an option of tables that is given where the data are not a table."""
    for name in names:
        if getattr(options, name):
            raise ValueError(f"--{name}: got {getattr(options, name)!r}, expected it with a .csv or .tsv alone")
