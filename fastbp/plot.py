"""Pictures: the history of a fit, the weights of a network. They need matplotlib: `pip install 'fastbp[plot]'`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from fastbp.checks import require

LOG_FROM, LOG_TO = 20.0, 1e5  # positive numbers that differ by a factor in between are drawn on a logarithmic scale
SMALLEST_IMAGE = 8  # pixels a side, of square images guessed from the number of inputs
MOST_IMAGES = 64


def history(history: Any, ax: Any = None) -> Any:
    """Draw cost and validation cost over the epochs, and the learning rate on a second axis; returns the axes.

    ax: matplotlib axes to draw into; a new figure by default. An axis is logarithmic where its numbers differ by a factor of
    20 and more, not where one is (nearly) 0.
    """
    if ax is None:
        _, ax = _pyplot().subplots(figsize=(7, 4.2), layout="constrained")
    marker = "o" if len(history.cost) == 1 else None
    lines = []
    for label, values, color in (("cost", history.cost, "C0"), ("validation cost", history.validation_cost, "C1")):
        if values:
            lines += ax.plot(range(1, len(values) + 1), values, color=color, label=label, marker=marker, zorder=3)
    ax.set(xlabel="epoch", ylabel="cost", yscale=_scale([*history.cost, *history.validation_cost]))
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    ax.grid(alpha=0.25)
    lines += _learning_rate(history.learning_rate, ax.twinx(), marker)
    ax.legend(handles=lines, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(lines), frameon=False)
    return ax


def _learning_rate(rates: Sequence[float], right: Any, marker: str | None) -> list[Any]:
    """Draw the learning rate on the axis `right`; returns the lines."""
    grey = "0.55"
    lines = right.plot(
        range(1, len(rates) + 1), rates, color=grey, linestyle="--", linewidth=1, label="learning rate", marker=marker
    )
    right.set_yscale(_scale(rates))
    if right.get_yscale() == "linear":
        right.set_ylim(0, 1.1 * max([*rates, 1e-12]))
    right.set_ylabel("learning rate", color=grey)
    right.tick_params(axis="y", colors=grey, which="both")
    return lines


def _scale(values: Sequence[float]) -> str:
    """Choose the scale of an axis for these values."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite or min(finite) <= 0:
        return "linear"
    # a rate that ends near 0 fell from a cliff
    return "log" if LOG_FROM < max(finite) / min(finite) < LOG_TO else "linear"


def weights(net: Any, shape: tuple[int, ...] | None = None) -> Any:
    """Draw the weights of a network, or of one of its dense layers; returns the figure.

    Where the inputs form an image, the weights of the first layer are drawn as images, one for each of at most 64 neurons:
    of `shape` (height, width), or (height, width, 3) for colours, which is guessed where the number of inputs is a square
    from 64 on; () for none. Otherwise every layer is a heat map, a row for each neuron.
    """
    layers = [layer for layer in getattr(net, "layers", [net]) if getattr(layer, "weight", None) is not None]
    if not layers:
        raise ValueError(f"net: got {net!r}, expected a network or a layer with weights")
    shape = _image_shape(layers[0].inputs, shape)
    figure = _images(layers[0], shape) if shape else _heat_maps(layers)
    figure._ipython_display_ = partial(_display, figure)
    return figure


def _display(figure: Any) -> None:
    """Show the figure once, when IPython asks for it as the value of a cell, or at the end of the cell that made it."""
    from IPython.display import display

    if "inline" in _pyplot().get_backend():
        _pyplot().close(figure)  # otherwise it is shown again at the end of the cell
    del figure._ipython_display_  # from now on it is a figure like any other
    display(figure)


def _image_shape(inputs: int, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of images, given or guessed; () for none."""
    if shape is None:
        side = math.isqrt(inputs)
        return (side, side) if side >= SMALLEST_IMAGE and side * side == inputs else ()
    shape = tuple(shape)
    if shape and (len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or math.prod(shape) != inputs):
        raise ValueError(f"shape: got {shape}, expected (height, width) or (height, width, 3) of {inputs} numbers")
    return shape


def _images(layer: Any, shape: tuple[int, ...]) -> Any:
    """Draw one picture of tiles, a pixel apart: an axis for each would take a second to draw."""
    shown = np.asarray(layer.weight[:MOST_IMAGES], np.float64).reshape(-1, *shape)
    height, width = shape[:2]
    columns = math.ceil(math.sqrt(len(shown) * height / width))
    rows = math.ceil(len(shown) / columns)
    tiles = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, *shape[2:]), np.nan)
    for i, image in enumerate(shown):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        tiles[top : top + height, left : left + width] = image
    limit = float(np.quantile(np.abs(shown), 0.999)) or 1.0
    figure, ax = _pyplot().subplots(figsize=(6.4, 0.6 + 5.6 * tiles.shape[0] / tiles.shape[1]), layout="constrained")
    if len(shape) == 3:
        ax.imshow(np.nan_to_num(np.clip(0.5 + 0.5 * tiles / limit, 0, 1), nan=1.0), interpolation="nearest")
    else:
        figure.colorbar(_signed(ax, tiles, limit), ax=ax, shrink=0.8, label="weight")
    of = "" if len(shown) == layer.outputs else f" of {layer.outputs}"
    ax.set_title(f"weights of {len(shown)}{of} neurons")
    ax.set_axis_off()
    return figure


def _heat_maps(layers: list[Any]) -> Any:
    """Draw the weights of each layer as a heat map, a row for each neuron."""
    limit = max(float(np.abs(layer.weight).max()) for layer in layers) or 1.0
    figure, axes = _pyplot().subplots(
        1, len(layers), figsize=(1 + 3.2 * len(layers), 3.4), squeeze=False, layout="constrained"
    )
    for i, (ax, layer) in enumerate(zip(axes[0], layers, strict=True)):
        drawn = _signed(ax, np.asarray(layer.weight), limit, aspect="auto")
        ax.set(title=f"{layer.inputs}-{layer.outputs} {layer.activation}", xlabel="input")
        ax.set_ylabel("neuron" if i == 0 else None)
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_major_locator().set_params(integer=True)
    figure.colorbar(drawn, ax=axes[0], label="weight")
    return figure


def _signed(ax: Any, values: np.ndarray, limit: float, **options: Any) -> Any:
    """Draw numbers above 0 in red, below 0 in blue, 0 in white; grey between tiles."""
    colours = _pyplot().get_cmap("RdBu_r").with_extremes(bad="0.8")
    return ax.imshow(values, cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest", **options)


def _pyplot() -> Any:
    return require("matplotlib.pyplot", "pictures need matplotlib", "plot")
