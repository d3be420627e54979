"""How the work of a network is cut: into shares of threads, and into calls of compiled code."""

from __future__ import annotations

from collections.abc import Iterator

from fastbp.parallel.region import region
from fastbp.parallel.sharing import TEAM_SERIAL_BELOW, shareable_flops

PREDICT_ROWS = 256  # rows of a minibatch where nothing is trained
CALL_FLOPS = 1e8  # of a call of compiled code, some hundredths of a second
VECTOR = 30_000  # elements of a vector that threads share


class Sharing:
    """What is worth threads, by the floating-point operations that each layer makes for one sample."""

    def __init__(self, flops: tuple[float, ...]):
        self.flops, self.largest = sum(flops), max(flops)

    def shares(self, rows: int) -> bool:
        """Return whether the work of any layer on `rows` rows is worth more than one thread."""
        return bool(shareable_flops(self.largest, rows) >= TEAM_SERIAL_BELOW)

    def region_for(self, rows: int) -> int:
        """Return the address of the parallel region, or 0 where no work on `rows` rows would be shared."""
        return region.of().resolve() if self.shares(rows) else 0

    def most_rows_alone(self) -> int:
        """Return the rows, PREDICT_ROWS at most, that one thread works on in any case."""
        return max(rows for rows in range(1, PREDICT_ROWS + 1) if not self.shares(rows))

    def calls(self, rows: int) -> Iterator[tuple[int, int]]:
        """Yield ranges of rows, of whole minibatches of PREDICT_ROWS, each for one call of compiled code."""
        step = max(1, int(CALL_FLOPS / ((self.flops + 1.0) * PREDICT_ROWS))) * PREDICT_ROWS
        return ((first, min(first + step, rows)) for first in range(0, rows, step))


def region_for_vector(size: int) -> int:
    """Return the address of the parallel region, or 0 where a vector of `size` elements is not worth sharing."""
    return region.of().resolve() if size > VECTOR else 0
