"""Makes matrices of tables of text: columns of numbers, and columns of text that become one 0/1 column a category.

What might be either, or a misprint, or no value at all, is refused with its place.
"""

from __future__ import annotations

import math
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastbp.data.delimited import Form, Reading, column_blocks, line_of, plain_numbers, told_form

MISSING = frozenset({
    "", "?", "na", "n/a", "n.a.", "nan", "-nan", "<na>", "#na", "#n/a", "nat", "null", "\\n",
    "#div/0!", "#name?", "#null!", "#num!", "#ref!", "#value!",
})  # fmt: skip
"""What marks a missing value, in lower case; "none" is too often a category."""

_MISSING_AMONG_NUMBERS = MISSING | {"-", "--", ".", "*", "nil", "none", "missing", "unknown"}

# Text of more categories than this is a name, an identifier, or numbers with a misprint among them.
_MOST_CATEGORIES, _FEW_CATEGORIES, _ROWS_PER_CATEGORY = 1000, 50, 4
_FEW_ROWS = 10  # of which each may be a category of its own

_MOST_NAMED = 20  # titles or categories in a message

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_MAYBE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_UNTITLED = re.compile(r"Unnamed: \d+(\.\d+)*")  # so pandas calls a column without title, when it writes it again
_DRESS = str.maketrans("", "", ",'\N{RIGHT SINGLE QUOTATION MARK}%$€£ \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}")


class Column(NamedTuple):
    """How a column is read: as numbers when `categories` is None, else as one 0/1 column for each of them."""

    name: str
    categories: tuple[str, ...] | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the matrix columns that the column becomes."""
        return (self.name,) if self.categories is None else tuple(f"{self.name}={c}" for c in self.categories)


class Table:
    """The columns of a file by their titles: all of them as numbers, and those that are asked for as text.

    `notes` says in sentences which columns were left out.
    """

    def __init__(self, path: str, form: Form, decimal: str):
        self.path, self.form, self.decimal = path, form, decimal
        self.notes: tuple[str, ...] = ()
        self._numbers = _read_numbers(path, form, decimal)
        self._cells: dict[int, list[str]] = {}
        self._places = {title: i for i, title in enumerate(form.titles)}

    def __len__(self) -> int:
        return len(self._numbers[0])

    @property
    def titles(self) -> list[str]:
        """The titles of the columns, in the order of the file, without those that were left out."""
        return list(self._places)

    def numbers(self, title: str) -> np.ndarray:
        """Return a column as float64 (rows,), NaN where a cell is no number."""
        return self._numbers[self._places[title]]

    def cells(self, title: str) -> list[str]:
        """Return the cells of a column, without blanks around them."""
        self.load(title)
        return self._cells[self._places[title]]

    def load(self, *titles: str) -> None:
        """Read the cells of columns in one pass over the file, for `cells`."""
        places = {self._places[title] for title in titles} - self._cells.keys()
        if not places:
            return
        found: dict[int, list[str]] = {place: [] for place in places}
        same: dict[str, str] = {}  # one object for equal cells: a column of text has few different ones
        for block in column_blocks(self.path, self.form):
            for place, cells in found.items():
                cells.extend(same.setdefault(cell, cell) for cell in map(str.strip, block[place]))
        self._cells.update(found)

    def place(self, row: int, title: str) -> str:
        """Say where a cell lies, for messages: rows count from 0 as in all of fastbp, lines from 1 as in editors."""
        return f"{self.path}: row {row} (line {line_of(self.path, self.form, row)}), column {title!r}"

    def leave_out(self, title: str, note: str | None = None) -> None:
        """Forget a column; the note says why."""
        del self._places[title]
        self.notes += (note,) if note else ()


def read_table(path: str | os.PathLike, reading: Reading | None = None) -> Table:
    """Read a file of comma-separated values in UTF-8, or with semicolons, tabs or bars instead, perhaps compressed.

    ValueError for a file that is not text, without rows, with two columns of one title or one without, with a row of another
    length than the header, and for what the file leaves open: its delimiter, its decimal mark, whether it has a header.
    A first column without title that only tells the rows apart is left out, and so is any without title and content.
    """
    path, reading = os.fspath(path), (reading or Reading()).checked()
    form = told_form(path, reading, _is_finite)
    table = Table(path, form, reading.decimal or ".")
    if reading.decimal is None and form.delimiter != "," and _has_decimal_commas(table):
        table = Table(path, form, ",")
    titles = form.titles
    twice = next((title for i, title in enumerate(titles) if title and title in titles[:i]), None)
    if twice is not None:
        raise ValueError(f"{path}: got two columns called {twice!r}, expected a name for each")
    _leave_out_untitled(table)
    return table


def _read_numbers(path: str, form: Form, decimal: str) -> list[np.ndarray]:
    """Return each column as float64, NaN where a cell is no number."""
    plain = plain_numbers(path, form) if decimal == "." else None
    if plain is not None:
        return list(plain.T)
    columns = [array("d") for _ in form.titles]
    for block in column_blocks(path, form):
        for found, cells in zip(columns, block, strict=True):
            found.frombytes(_as_numbers(cells, decimal).tobytes())
    return [np.frombuffer(column) for column in columns]


def _as_numbers(cells: Sequence[str], decimal: str) -> np.ndarray:
    """Return a float64 for each cell, NaN where it is no number."""
    text = "".join(cells)
    if "_" not in text and not (decimal == "," and "." in text):
        try:
            plain = cells if decimal == "." else [cell.replace(",", ".") for cell in cells]
            return np.fromiter(map(float, plain), np.float64, len(cells))
        except ValueError:
            pass  # some cell is no number
    known = {cell: _number(cell, decimal) for cell in set(cells)}
    return np.fromiter(map(known.__getitem__, cells), np.float64, len(cells))


def _number(cell: str, decimal: str) -> float:
    """Return the number that a cell holds, or NaN."""
    if "_" in cell or (decimal == "," and "." in cell):  # float would read 1_2 as 12; 1.234 may be 1234 there
        return math.nan
    try:
        return float(cell if decimal == "." else cell.replace(",", "."))
    except ValueError:
        return math.nan


def _is_finite(cell: str) -> bool:
    """Return whether a cell holds a finite number, with one decimal mark or the other."""
    return math.isfinite(_number(cell, ".")) or math.isfinite(_number(cell, ","))


def _looks_like_number(cell: str) -> bool:
    """Return whether a cell is a number, or would be one without signs of percent, money and thousands."""
    return math.isfinite(_number(cell.translate(_DRESS), "."))


def _has_decimal_commas(table: Table) -> bool:
    """Return whether commas are decimal marks; ValueError where they may as well be signs of thousands."""
    unread = [title for title in table.titles if np.isnan(table.numbers(title)).any()]
    table.load(*unread)
    doubt = None
    for title in unread:
        counts = Counter(table.cells(title))
        marked = {cell: count for cell, count in counts.items() if _DECIMAL_COMMA.fullmatch(cell)}
        if not marked or 2 * sum(n for cell, n in counts.items() if math.isfinite(_number(cell, ","))) <= len(table):
            continue
        row = next(row for row, cell in enumerate(table.cells(title)) if cell in marked)
        got = f"{table.place(row, title)}: got {table.cells(title)[row]!r}"
        advice = "expected decimal (--decimal) to say which mark numbers have, . or ,"
        pointed = next((other for other in table.titles if _has_fractions(table.numbers(other))), None)
        if pointed is not None:
            raise ValueError(f"{got}, and numbers with a point in column {pointed!r}, {advice}")
        if not all(map(_MAYBE_THOUSANDS.fullmatch, marked)):
            return True
        doubt = f"{got}, in thousands or with three decimals? {advice}"
    if doubt is not None:
        raise ValueError(doubt)
    return False


def _has_fractions(values: np.ndarray) -> bool:
    """Return whether a finite number among them is not whole."""
    found = values[np.isfinite(values)]
    return bool((found != np.floor(found)).any())


def _leave_out_untitled(table: Table) -> None:
    """Leave out columns without title that are empty or an index, as pandas and R write it; ValueError for any other."""
    for i, title in enumerate(table.titles):
        pandas = _UNTITLED.fullmatch(title) is not None
        if title and not pandas:
            continue
        cells = table.cells(title)
        if not any(cells):
            table.leave_out(title)
        elif (i == 0 or pandas) and _tells_rows_apart(table.numbers(title), cells):
            table.leave_out(title, f"{table.path}: left out column {i} ({title!r}), which numbers or names the rows")
        elif not title:
            raise ValueError(f"{table.path}: got a column without title, with {cells[0]!r} in row 0, expected a title")


def _tells_rows_apart(values: np.ndarray, cells: list[str]) -> bool:
    """Return whether all cells differ, and are whole numbers or text."""
    return len(set(cells)) == len(cells) and not _has_fractions(values)


# ---------------------------------------------------------------------------------------------------------------- columns


def counts_rows(values: np.ndarray) -> bool:
    """Return whether a column only counts its rows, from 0 or from 1."""
    return len(values) > 2 and values[0] in (0, 1) and np.array_equal(values, np.arange(len(values)) + values[0])


def require_numbers(table: Table, title: str, expected: str = "a number") -> np.ndarray:
    """Return a column of finite numbers; ValueError names the first cell that is none, and what is expected of it."""
    values = table.numbers(title)
    if not np.isfinite(values).all():
        raise ValueError(refusal(table, title, expected))
    return values


def is_missing(table: Table, title: str) -> np.ndarray:
    """Return where a column has markers of missing values; more texts count as markers where other cells are numbers."""
    markers = _MISSING_AMONG_NUMBERS if np.isfinite(table.numbers(title)).any() else MISSING
    found = {cell for cell in set(table.cells(title)) if cell.lower() in markers}
    return np.fromiter((cell in found for cell in table.cells(title)), bool, len(table))


def is_mostly_numbers(table: Table, title: str) -> bool:
    """Return whether more than half of the cells are numbers, or would be without signs of percent, money and thousands."""
    counts = Counter(table.cells(title))
    return 2 * sum(count for cell, count in counts.items() if _looks_like_number(cell)) > len(table)


def refusal(table: Table, title: str, expected: str = "a number") -> str:
    """Return the sentence about the first missing value of a column, or else the first cell that is no finite number."""
    values, cells = table.numbers(title), table.cells(title)
    missing = is_missing(table, title)
    if missing.any():
        row = int(np.argmax(missing))
        return (
            f"{table.place(row, title)}: got the missing value {cells[row]!r}, expected one in every cell "
            f"({int(missing.sum())} of {len(table)} rows have none)"
        )
    text = np.isnan(values)
    if not text.any():
        row = int(np.argmax(np.isinf(values)))
        return f"{table.place(row, title)}: got {cells[row]!r}, expected a finite number"
    row = int(np.argmax(text))
    count = len(table) - int(text.sum())
    others = f" as in {count} of {len(table)} rows" if count else ""
    return (
        f"{table.place(row, title)}: got {cells[row]!r}, expected {expected}{others} "
        f"(as text, the column has {len(set(cells))} different values in {len(table)} rows)"
    )


def describe(table: Table, title: str, as_text: bool = False) -> Column:
    """Describe a feature as numeric, or by its sorted categories; `as_text` takes every cell for a category.

    ValueError for missing values, for numbers with a few other cells among them, and for more categories than can be meant.
    """
    if np.isfinite(table.numbers(title)).all() and not as_text:
        return Column(title)
    categories = sorted(set(table.cells(title)))
    few = max(_FEW_CATEGORIES, len(table) // _ROWS_PER_CATEGORY)
    advice = "; drop (--drop) leaves the column out, categories (--categories) takes every cell of it for a category"
    if as_text:
        if len(categories) > _MOST_CATEGORIES:
            raise ValueError(
                f"{table.path}: column {title!r}: got {len(categories)} different values, "
                f"expected {_MOST_CATEGORIES} categories at most"
            )
    elif (
        is_missing(table, title).any()
        or not np.isnan(table.numbers(title)).any()
        or is_mostly_numbers(table, title)
        or len(categories) > min(few, _MOST_CATEGORIES)
        or len(categories) == len(table) > _FEW_ROWS
    ):
        raise ValueError(refusal(table, title) + advice)
    return Column(title, tuple(categories))


def encode(table: Table, columns: Sequence[Column]) -> np.ndarray:
    """Return the matrix (rows, features) float64 of the named columns; the table may have others, and any order.

    ValueError for a column that is not there, text in a numeric column, and a category that is not known.
    """
    missing = [column.name for column in columns if column.name not in table.titles]
    if missing:
        raise ValueError(f"{table.path}: got the columns {named(table.titles)}, expected also {named(missing)}")
    # as text, not as numbers: by chance a file with few rows may have nothing but numbers in such a column
    table.load(*(column.name for column in columns if column.categories is not None))
    x = np.zeros((len(table), sum(len(column.features) for column in columns)))
    start = 0
    for column in columns:
        if column.categories is None:
            x[:, start] = require_numbers(table, column.name)
        else:
            x[np.arange(len(table)), start + _codes(table, column.name, column.categories)] = 1
        start += len(column.features)
    return x


def _codes(table: Table, title: str, categories: Sequence[str]) -> np.ndarray:
    """Return the place of each cell among the categories."""
    places = {category: i for i, category in enumerate(categories)}
    cells = table.cells(title)
    codes = np.fromiter((places.get(cell, -1) for cell in cells), np.int64, len(cells))
    if (codes < 0).any():
        row = int(np.argmin(codes))
        raise ValueError(f"{table.place(row, title)}: got {cells[row]!r}, expected one of {named(categories)}")
    return codes


def named(names: Iterable[Any]) -> str:
    """Join names for a message; if there are very many, the first ones."""
    names = list(names)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(str, names[:_MOST_NAMED])) + more
