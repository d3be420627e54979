"""The report that `explain` returns: a row for each part of a step, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fastbp.inspect.tabular import as_html, as_text

__all__ = ["Explanation", "Row"]


class Row(NamedTuple):
    """A part of a step: one work of one operation, or what else a step does. Times in seconds, of one step.

    flops: two for each multiply-add of its product. bytes: operands read and results written, each once. limit: what the
    machine needs at least: flops at the peak of the threads used or, where the caches cannot hold them, bytes at the
    bandwidth of memory, whichever takes longer; the whole step's is that of all its threads. fill: the share of the elements
    in the tiles that lie within the product; 0 without one. threads: 0 where it is not told. packs: "", "A", "B" or "AB".
    grid: in how many ways rows and columns are shared. gradients: "stored", or "consumed" by the update.
    """

    operation: str
    work: str
    flops: float = 0.0
    bytes: float = 0.0
    limit: float = 0.0
    seconds: float = 0.0
    fill: float = 0.0
    threads: int = 0
    packs: str = ""
    grid: tuple[int, int] = (0, 0)
    gradients: str = ""
    bound: str = ""

    @property
    def share(self) -> float:
        """The share of the limit that is reached, or 0 without a time."""
        return self.limit / self.seconds if self.seconds else 0.0

    @property
    def path(self) -> str:
        """How the work was done, in words."""
        words = [{0: "", 1: "1 thread"}.get(self.threads, f"{self.threads} threads")]
        if self.fill:
            words += [f"{self.grid[0]} x {self.grid[1]}"] * (self.threads > 1)
            words += [f"packs {self.packs}" if self.packs else "straight", self.gradients]
        return ", ".join(filter(None, words))


@dataclass(frozen=True, repr=False)
class Explanation:
    """The result of `explain`, which prints as a table.

    rows: the parts of a step, then "calls and the rest", which makes up the difference to the last row, the whole step. peak:
    flop/s of the `threads` that train, all together; single_peak: of one alone.
    """

    rows: tuple[Row, ...]
    peak: float
    single_peak: float
    threads: int
    seconds_per_step: float
    batch_size: int
    dtype: str

    def __str__(self) -> str:
        lines = as_text(self.cells, LEFT)
        return "\n".join([*self.head, "", *lines[:-2], "", *lines[-2:]])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self.head, self.cells, LEFT)

    @property
    def head(self) -> list[str]:
        """The lines above the table."""
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        head = (
            f"{self.batch_size} rows a step, {self.dtype}, {threads}, {self.peak / 1e9:.0f} GFLOP/s at most; "
            f"{1 / self.seconds_per_step:,.0f} steps a second"
        )
        return [head, *[CROWDED] * self.crowded]

    @property
    def cells(self) -> list[tuple[str, ...]]:
        """The cells of the table, headings first."""
        return [HEADINGS, *map(cells_of, self.rows)]

    @property
    def crowded(self) -> bool:
        """Whether the threads got in each other's way when their peak was measured."""
        return self.peak < 0.75 * self.threads * self.single_peak


CROWDED = "the threads did not run side by side: other programs are running, or threads share cores"
HEADINGS = ("operation", "work", "MFLOP", "kB", "limit us", "us", "of limit", "tiles", "path", "bound by")
LEFT = (True, True, *[False] * 6, True, True)


def cells_of(row: Row) -> tuple[str, ...]:
    """Return the cells of a row, empty where there is no number."""
    flops, limit = f"{row.flops / 1e6:.3f}" * bool(row.flops), f"{1e6 * row.limit:.2f}" * bool(row.limit)
    shares = (f"{100 * x:.0f} %" * bool(x) for x in (row.share, row.fill))
    kb, us = f"{row.bytes / 1e3:.1f}" * bool(row.bytes), f"{1e6 * row.seconds:.2f}"
    return row.operation, row.work, flops, kb, limit, us, *shares, row.path, row.bound
