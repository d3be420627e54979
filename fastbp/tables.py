"""CSV files as matrices: a header row, columns of numbers, columns of text that become one 0/1 column a category."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null"})  # in any case; "none" is too often a category

# Text of more categories than this is a name, an identifier, or numbers with a misprint among them.
_MOST_CATEGORIES, _FEW_CATEGORIES, _ROWS_PER_CATEGORY = 1000, 50, 4


class Column(NamedTuple):
    """How a column is read: as numbers when `categories` is None, else as one 0/1 column for each of them."""

    name: str
    categories: tuple[str, ...] | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the matrix columns it becomes."""
        return (self.name,) if self.categories is None else tuple(f"{self.name}={c}" for c in self.categories)


class Table(NamedTuple):
    """The cells of a file, column by column, stripped of blanks around them; `lines[i]` is where row i ends."""

    path: str
    cells: dict[str, list[str]]
    lines: list[int]

    def place(self, row: int, name: str) -> str:
        """Where a cell lies, for messages: rows count from 0 as in all of fastbp, lines from 1 as in editors."""
        return f"{self.path}: row {row} (line {self.lines[row]}), column {name!r}"


def read_table(path: str | os.PathLike) -> Table:
    """Read a CSV file in UTF-8, separated by commas, semicolons or tabs, whichever its header has most of.

    ValueError for a file that is not text, without header or rows, with two columns of one name, or with a row of
    another length than the header.
    """
    path = os.fspath(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            delimiter = max(",;\t", key=file.readline().count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            numbered = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: got bytes that are not UTF-8 ({error.reason}), expected a CSV file") from error
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num}: {error}, expected a CSV file") from error
    if len(numbered) < 2:
        raise ValueError(f"{path}: got {len(numbered)} lines, expected a header and at least one row")
    (_, header), *rows = numbered
    if len(set(header)) < len(header):
        twice = next(name for i, name in enumerate(header) if name in header[:i])
        raise ValueError(f"{path}: got two columns called {twice!r}, expected a name for each")
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(f"{path}: line {line}: got {len(row)} cells, expected {len(header)} as in the header")
    columns = zip(*(row for _, row in rows), strict=True)
    return Table(path, dict(zip(header, map(list, columns), strict=True)), [line for line, _ in rows])


def read_column(table: Table, name: str) -> np.ndarray:
    """One column: float64 if every cell is a finite number, else text; ValueError for a missing value or infinity."""
    cells = table.cells[name]
    for row, cell in enumerate(cells):
        if cell.lower() in MISSING:
            raise ValueError(f"{table.place(row, name)}: got the missing value {cell!r}, expected one in every cell")
    values = np.array([_number(cell) for cell in cells])
    if np.isnan(values).any():
        return np.array(cells)
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise ValueError(f"{table.place(row, name)}: got {cells[row]!r}, expected a finite number")
    return values


def _number(cell: str) -> float:
    """The number that a cell holds, or NaN."""
    if "_" in cell:  # float would read 1_2 as 12
        return math.nan
    try:
        return float(cell)
    except ValueError:
        return math.nan


def describe(table: Table, name: str) -> Column:
    """Whether a feature is numeric, or which categories it has, sorted; ValueError if they are too many to be any."""
    values = read_column(table, name)
    if values.dtype.kind == "f":
        return Column(name)
    categories = np.unique(values)
    if len(categories) > min(max(_FEW_CATEGORIES, len(values) // _ROWS_PER_CATEGORY), _MOST_CATEGORIES):
        row = next(row for row, cell in enumerate(table.cells[name]) if math.isnan(_number(cell)))
        raise ValueError(
            f"{table.place(row, name)}: got {table.cells[name][row]!r}, expected a number "
            f"(as text, the column has {len(categories)} different values in {len(values)} rows)"
        )
    return Column(name, tuple(categories.tolist()))


def encode(table: Table, columns: Sequence[Column]) -> np.ndarray:
    """The matrix (rows, features) float64 of the named columns; the table may have others, and any order.

    ValueError for a column that is not there, text in a numeric column, and a category that is not known.
    """
    missing = [column.name for column in columns if column.name not in table.cells]
    if missing:
        raise ValueError(f"{table.path}: got the columns {', '.join(table.cells)}, expected also {', '.join(missing)}")
    blocks = [_encode_column(table, column) for column in columns]
    return np.concatenate(blocks, axis=1)


def _encode_column(table: Table, column: Column) -> np.ndarray:
    """One column as (rows, 1), or as (rows, categories) of 0 and 1."""
    values = read_column(table, column.name)
    if column.categories is None:
        if values.dtype.kind != "f":
            row = next(row for row, cell in enumerate(table.cells[column.name]) if math.isnan(_number(cell)))
            cell = table.cells[column.name][row]
            raise ValueError(f"{table.place(row, column.name)}: got {cell!r}, expected a number")
        return values[:, None]
    # cells, not values: by chance a file with few rows may have nothing but numbers in a column of text
    found = np.array(table.cells[column.name])[:, None] == np.array(column.categories)
    known = found.any(axis=1)
    if not known.all():
        row = int(np.argmin(known))
        raise ValueError(
            f"{table.place(row, column.name)}: got {table.cells[column.name][row]!r}, "
            f"expected one of {', '.join(column.categories)}"
        )
    return found.astype(np.float64)
