"""A Comparison as a table of text, which names the machine, so that it can be pasted anywhere."""

from __future__ import annotations

from fastbp.bench.comparison import Comparison, Result
from fastbp.bench.contenders import LIBRARIES
from fastbp.bench.machine import Machine
from fastbp.inspect.report import CROWDED
from fastbp.inspect.tabular import as_text


def table(found: Comparison) -> str:
    """Return the table as text: a heading, a row for each network, and notes that say why there is a dash."""
    rows = [headings(found), *(cells(found, result) for result in found.results)]
    lines = as_text(rows, [True] + [False] * (len(rows[0]) - 1))
    if found.mean_ratio is not None:
        mean = f"{found.mean_ratio:.2f}"
        lines.append("geometric mean".ljust(len(lines[0]) - len(mean)) + mean)
    return "\n".join([*heading(found), "", *lines, *notes(found)])


def heading(found: Comparison) -> list[str]:
    """Return the lines above the table: machine, versions, what is trained."""
    work = found.results[0].work
    return [
        describe(found.machine),
        ", ".join(f"{name} {version}" for name, version in found.versions.items()),
        f"microseconds a step of training, {work.activation}, {work.optimizer}, {work.dtype} (share of the FMA peak)",
        *[CROWDED] * found.machine.crowded,
    ]


def describe(machine: Machine) -> str:
    """Return the machine in one line."""
    threads = f"{machine.threads} thread{'s' * (machine.threads > 1)}"
    return f"{machine.cpu}, {threads}, FMA peak {machine.peak / 1e9:.0f} GFLOP/s {machine.dtype}"


def headings(found: Comparison) -> list[str]:
    titles = [LIBRARIES[name].title for name in found.contenders]
    return ["network@rows", "at the peak", *titles, *["best peer / fastbp"] * (found.mean_ratio is not None)]


def cells(found: Comparison, result: Result) -> list[str]:
    times = [cell(result, name) for name in found.contenders]
    ratio = "-" if result.ratio is None else f"{result.ratio:.2f}"
    return [result.work.name, microseconds(result.limit), *times, *[ratio] * (found.mean_ratio is not None)]


def cell(result: Result, name: str) -> str:
    """Return a contender's time of a step and its share of the peak, or a dash."""
    if name not in result.seconds:
        return "-"
    seconds = result.seconds[name]
    return f"{microseconds(seconds)} ({100 * result.limit / seconds:2.0f} %)"


def microseconds(seconds: float) -> str:
    decimals = 2 if seconds < 1e-5 else 1 if seconds < 1e-3 else 0
    return f"{1e6 * seconds:,.{decimals}f}"


def notes(found: Comparison) -> list[str]:
    """Return a line for each contender and reason; it names the networks if the reason does not hold for all of them."""
    lines = []
    for name in found.contenders:
        for reason in dict.fromkeys(r.faults[name] for r in found.results if name in r.faults):
            where = [r.work.name for r in found.results if r.faults.get(name) == reason]
            at = f", {', '.join(where)}" if len(where) < len(found.results) else ""
            lines.append(f"{LIBRARIES[name].title}{at}: {reason}")
    return ["", *lines] if lines else []
