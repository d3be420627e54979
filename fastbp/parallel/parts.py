"""How work is cut into parts, and memory into cache lines."""

from fastbp.compiler.jit import inner

CACHE_LINE = 64  # bytes; buffers begin at one, and what two threads write lies in different ones


def rounded_up(x, unit):
    """Return the least multiple of `unit` that is not below x."""
    return (x + unit - 1) // unit * unit


round_up = inner(rounded_up)  # for compiled code


@inner
def share(total, unit, part, parts):
    """(start, length) of part number `part` when `parts` parts of whole units share `total`; the last may be empty."""
    length = round_up((total + parts - 1) // parts, unit)
    start = min(part * length, total)
    return start, min(length, total - start)
