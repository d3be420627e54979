"""Reads text files of rows and columns, CSV and its relatives, cell by cell in few passes, and tells how they are written."""

from __future__ import annotations

import contextlib
import csv
import functools
import importlib
import itertools
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

SUFFIXES = (".csv", ".tsv")
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}  # the module that opens them
DELIMITERS = ",;\t|"

_SAMPLE = 50  # lines that tell the delimiter
_CELLS_AT_ONCE, _FEWEST_ROWS_AT_ONCE = 5_000, 50  # in a block that the cache holds
_COMMENT = "#"  # above the header; elsewhere a row may begin with it


class Reading(NamedTuple):
    """What the caller knows of a file; what is None is told from the file itself, or refused where it cannot be told.

    delimiter: one character. decimal: "." or ",". header: whether the first line holds the columns' titles; without it, they
    are x0, x1, ... comment: lines that begin with it are no rows; None leaves out lines of # above the header alone.
    """

    delimiter: str | None = None
    decimal: str | None = None
    header: bool | None = None
    comment: str | None = None

    def checked(self) -> Reading:
        """Return itself; ValueError for a setting that cannot be meant."""
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise ValueError(f"delimiter: got {self.delimiter!r}, expected one character, as ; or a tab")
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"decimal: got {self.decimal!r}, expected . or ,")
        if self.decimal is not None and self.decimal == self.delimiter == ".":
            raise ValueError("delimiter: got '.', which is the decimal mark too, expected another character")
        if self.comment == "":
            raise ValueError("comment: got '', expected what lines of comments begin with, as #")
        return self


class Form(NamedTuple):
    """How a file is written: `titles` of its columns, the `delimiter` between its cells, and whether it has a `header`.

    comment: what lines begin with that are no rows, or None; `skipped` lines lie above the first one that counts.
    """

    titles: list[str]
    delimiter: str
    header: bool
    comment: str | None
    skipped: int


def plain_name(path: str | os.PathLike) -> str:
    """Return the name of a file, without its folder and without the suffix of a compression."""
    name = Path(path).name
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in COMPRESSED else name


def is_delimited(path: str | os.PathLike) -> bool:
    """Return whether a file is a table of text, by its name: .csv or .tsv, compressed or not."""
    return Path(plain_name(path)).suffix.lower() in SUFFIXES


def told_form(path: str, reading: Reading, is_number: Callable[[str], bool]) -> Form:
    """Tell the form of a file from its first lines and from what the caller knows.

    ValueError for a file without rows, for several delimiters that would do, and for a first line that may be a row:
    one with a number among its cells.
    """
    comment = reading.comment or (None if reading.header is False else _COMMENT)
    with _opened(path) as file:
        skipped, separator, first = _preamble(file, comment)
        sample = [first, *itertools.islice(file, _SAMPLE)]
    if any("\0" in line for line in sample):
        raise ValueError(f"{path}: got zero bytes, expected a CSV file in UTF-8; UTF-16 has them: save it as UTF-8")
    tab = "\t" if Path(plain_name(path)).suffix.lower() == ".tsv" else None
    delimiter = reading.delimiter or separator or tab or _told_delimiter(path, sample)
    form = functools.partial(Form, delimiter=delimiter, comment=reading.comment, skipped=skipped)
    rows = list(itertools.islice(numbered_rows(path, form(titles=[], header=False)), 2))
    if len(rows) < (1 if reading.header is False else 2):
        raise ValueError(f"{path}: got {len(rows)} lines, expected a header and at least one row")
    line, first_row = rows[0]
    titles = [cell.strip() for cell in first_row]
    if reading.header is False:
        return form(titles=[f"x{i}" for i in range(len(titles))], header=False)
    number = next((title for title in titles if is_number(title)), None)
    if number is not None and reading.header is None:
        raise ValueError(
            f"{path}: line {line}: got the number {number!r} among the titles of the columns, expected a header; a file "
            "without one is read by header=False (--header no), titles that are numbers by header=True (--header yes)"
        )
    return form(titles=titles, header=True)


def numbered_rows(path: str, form: Form) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows, header included, each with the line where it ends, counted from 1.

    Blank lines, lines of comments, and rows without a filled cell at the end of the file are left out. ValueError, with the
    line, for what is no CSV.
    """
    with _opened(path) as file:
        above = list(itertools.islice(file, form.skipped))
        reader = csv.reader(file, delimiter=form.delimiter, strict=True)
        empty: list[tuple[int, list[str]]] = []
        try:
            for row in reader:
                if not row or (len(row) == 1 and row[0].isspace()):
                    continue
                if form.comment and row[0].lstrip().startswith(form.comment):
                    continue
                numbered = (len(above) + reader.line_num, row)
                if len(row) > 1 and not any(row):
                    empty.append(numbered)
                    continue
                yield from empty
                empty.clear()
                yield numbered
        except csv.Error as error:
            line = len(above) + reader.line_num
            raise ValueError(f"{path}: line {line}: {error}, expected a CSV file") from error


def column_blocks(path: str, form: Form) -> Iterator[list[tuple[str, ...]]]:
    """Yield the cells below the header, some rows at a time, column by column.

    ValueError for a row of another length than the header.
    """
    width = len(form.titles)
    numbered = itertools.islice(numbered_rows(path, form), int(form.header), None)
    while block := list(itertools.islice(numbered, max(_FEWEST_ROWS_AT_ONCE, _CELLS_AT_ONCE // width))):
        for line, row in block:
            if len(row) != width:
                raise ValueError(_ragged(path, form, line, row))
        yield list(zip(*(row for _, row in block), strict=True))


def plain_numbers(path: str, form: Form) -> np.ndarray | None:
    """Return the matrix (rows, columns) float64 of a file that holds nothing but numbers, NaN and infinity included, else None.

    It takes a third of the time that reading cell by cell takes.
    """
    if form.comment:
        return None
    above = next(numbered_rows(path, form))[0] if form.header else form.skipped
    with _opened(path) as file:
        for _ in itertools.islice(file, above):
            pass
        try:
            found = np.loadtxt(file, delimiter=form.delimiter, comments=None, quotechar='"', ndmin=2, encoding=None)
        except ValueError:
            return None
    return found if found.shape[1] == len(form.titles) else None


def line_of(path: str, form: Form, row: int) -> int:
    """Return the line where a row ends; rows count from 0 below the header, lines from 1 as in editors."""
    return next(itertools.islice(numbered_rows(path, form), row + form.header, None))[0]


def _ragged(path: str, form: Form, line: int, row: list[str]) -> str:
    """Return the sentence for a row of another length than the header, with what may be the cause."""
    width, cause = len(form.titles), ""
    if row[0].lstrip().startswith(_COMMENT):
        cause = "; lines of comments are left out by comment='#' (--comment '#')"
    elif 1 in (len(row), width):
        cause = f"; with another delimiter than {form.delimiter!r}, give delimiter (--delimiter)"
    elif not row[-1].strip() and len(row) == width + 1:
        cause = "; a delimiter ends the line"
    elif len(row) == width + 1 and line_of(path, form, 0) == line:
        cause = "; a first column of row names needs a title too"
    as_in = "in the header" if form.header else "in the first row"
    return f"{path}: line {line}: got {len(row)} cells, expected {width} as {as_in}{cause}"


def _preamble(file: TextIO, comment: str | None) -> tuple[int, str | None, str]:
    """Return the number of lines above the first one that counts, the delimiter that Excel's `sep=;` names, and that line."""
    separator = None
    for number, line in enumerate(file):
        bare = line.strip().strip('"')
        if number == 0 and bare[:4].lower() == "sep=" and len(line.rstrip("\r\n").strip('"')) == 5:
            separator = line.rstrip("\r\n").strip('"')[4]
        elif bare and not (comment and bare.startswith(comment)):
            return number, separator, line
    return 0, separator, ""


def _told_delimiter(path: str, sample: list[str]) -> str:
    """Return the one that divides all lines of the sample into equally many cells; else the first line's most frequent one."""
    fitting = []
    for delimiter in DELIMITERS:
        with contextlib.suppress(csv.Error):  # a wrong one may well make cells that are no CSV
            rows = [row for row in csv.reader(sample, delimiter=delimiter) if row]
            widths = {len(row) for row in (rows[:-1] if len(sample) > _SAMPLE else rows)}  # the last one may be cut
            if len(widths) == 1 and widths != {1}:
                fitting.append(delimiter)
    if len(fitting) > 1:
        raise ValueError(
            f"{path}: got lines that {' and '.join(map(repr, fitting))} divide alike, "
            "expected one delimiter: say which by delimiter (--delimiter)"
        )
    return fitting[0] if fitting else max(DELIMITERS, key=sample[0].count)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    """Open a text file, decompressed by its suffix; ValueError for what is not UTF-8 and for a damaged archive."""
    module: Any = importlib.import_module(COMPRESSED.get(Path(path).suffix.lower(), "io"))
    try:
        with module.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: got bytes that are not UTF-8 ({error.reason}), expected a CSV file; save it as UTF-8"
        ) from error
    except (EOFError, zlib.error, getattr(module, "LZMAError", EOFError)) as error:
        raise ValueError(f"{path}: got a damaged {Path(path).suffix} file: {error}") from error
    except OSError as error:
        if error.errno is not None:  # gzip and bz2 give no number to the error for what is not their format
            raise
        raise ValueError(f"{path}: got a damaged {Path(path).suffix} file: {error}") from error
