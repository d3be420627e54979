"""A Comparison as a chart: the only module of the comparison that uses matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastbp.bench.comparison import Comparison
from fastbp.bench.contenders import LIBRARIES
from fastbp.bench.table import describe, microseconds
from fastbp.checks import require

# Okabe and Ito's colours, which colour-blind readers tell apart, and shapes, for prints without colour
STYLES = {
    "fastbp": ("#D55E00", "o"),
    "numpy": ("#0072B2", "s"),
    "sklearn": ("#009E73", "D"),
    "torch": ("#CC79A7", "^"),
    "jax": ("#E69F00", "v"),
    "torch.compile": ("#56B4E9", "P"),
}
GREY = "#666666"


def require_matplotlib(path: str) -> None:
    """Raise ImportError without matplotlib, ValueError where it writes no file of that kind."""
    backends = require("matplotlib.backend_bases", "a chart needs matplotlib", "plot")
    known = sorted(backends.FigureCanvasBase.filetypes)
    if Path(path).suffix.lower().lstrip(".") not in known:
        raise ValueError(f"--plot: got {path!r}, expected a file that ends with one of {', '.join(known)}")


def chart(found: Comparison) -> Any:
    """Draw a line for each network, a dot on it for each contender's time of a step, and a tick for the machine's limit.

    Returns matplotlib's Figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.9 + 0.62 * len(found.results)), dpi=100, layout="constrained")
    axes = figure.subplots()
    draw_dots(axes, found)
    label_axes(axes, found)
    entries = len(axes.get_legend_handles_labels()[0])
    figure.legend(loc="outside lower center", ncols=entries, frameon=False, markerscale=0.8)
    return figure


def draw_dots(axes: Any, found: Comparison) -> None:
    """Draw the lines, dots and ticks, and write fastbp's times beside its dots."""
    places = range(len(found.results))
    for place, result in enumerate(found.results):
        times = [result.limit, *result.seconds.values()]
        axes.plot([min(times), max(times)], [place, place], color="#cccccc", linewidth=1.5, zorder=1)
    limits = [result.limit for result in found.results]
    axes.scatter(limits, places, marker="|", s=260, linewidth=2.2, color="black", label="limit: the FMA peak", zorder=2)
    for name in found.contenders:
        timed = [(r.seconds[name], place) for place, r in enumerate(found.results) if name in r.seconds]
        color, marker = STYLES[name]
        size, above = (110, 4) if name == "fastbp" else (60, 3)
        if timed:
            axes.scatter(*zip(*timed, strict=True), marker=marker, s=size, color=color, edgecolor="white", linewidth=0.7,
                         label=LIBRARIES[name].title, zorder=above)  # fmt: skip
    for place, result in enumerate(found.results):
        if "fastbp" in result.seconds:
            seconds = result.seconds["fastbp"]
            axes.annotate(f"{microseconds(seconds)} µs", (seconds, place), (0, 10), textcoords="offset points", ha="center",
                          color=STYLES["fastbp"][0], fontsize=10, fontweight="bold")  # fmt: skip


def label_axes(axes: Any, found: Comparison) -> None:
    """Scale and label the axes, and title the chart."""
    from matplotlib.ticker import LogLocator

    work = found.results[0].work
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=99))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{1e6 * seconds:,.10g}")
    axes.set_xlabel("microseconds a step (logarithmic; less is better)")
    labels = [f"{r.work.name.split('@')[0]}\n{r.work.batch_size} rows" for r in found.results]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.6)  # the first at the top
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(f"One step of training: {work.activation}, {work.optimizer}, {work.dtype}", loc="left",
                   fontsize=13, fontweight="bold", pad=22)  # fmt: skip
    axes.text(0, 1.02, describe(found.machine), transform=axes.transAxes, color=GREY, fontsize=9.5, va="bottom")
