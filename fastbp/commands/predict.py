"""`predict`: write a model's predictions for a file."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from fastbp.commands import check_output
from fastbp.commands.reading import READING, add_reading_options, reading_of, require_none
from fastbp.io.files import whole

if TYPE_CHECKING:
    from fastbp.data.recipe import Recipe


def add_to(commands: Any) -> None:
    predict = commands.add_parser("predict", help="write a model's predictions for a file as CSV")
    add = predict.add_argument
    add("model", metavar="MODEL", help="a model file that `train` wrote")
    add("file", metavar="FILE", help="a .csv or .tsv with the features' columns, an .npz, or: digits")
    add("--x-key", default="x", metavar="KEY", help="the array of an .npz (x)")
    add_reading_options(add)
    add("--out", metavar="FILE", help="where to write (stdout)")
    predict.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read model and file, and write a line of predictions for each row."""
    import fastbp as fb
    from fastbp.data import files
    from fastbp.data.delimited import is_delimited

    if options.out is not None and not _is_device(options.out):
        check_output("--out", options.out, options.model, options.file)
    net = fb.Sequential.load(options.model)
    recipe = _recipe(options.model, net.metadata)
    if not is_delimited(options.file):
        require_none(options, *READING)
    if options.file == "digits":
        x = files.load_digits().x
    else:
        reading = reading_of(options)
        x = files.load_features(options.file, recipe.columns, len(recipe.features), options.x_key, **reading)
    output = net.predict(recipe.inputs(x))
    if output.shape[1] != recipe.outputs:
        raise ValueError(f"{options.model}: got a recipe of {recipe.outputs} outputs, expected {output.shape[1]}")
    with _writing(options.out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(recipe.header)
        writer.writerows(recipe.predictions(output))
    return 0


def _recipe(path: str, metadata: dict[str, Any]) -> Recipe:
    """Return the recipe that `train` saved with the network; ValueError, with the path, if it is missing or inconsistent."""
    from fastbp.data.recipe import Recipe

    if "recipe" not in metadata:
        raise ValueError(f"{path}: a network saved without its recipe, expected a file that `train` wrote")
    try:
        recipe = Recipe.from_metadata(metadata["recipe"])
        check_sizes(recipe)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: got a recipe that cannot be used ({error!r}), expected one that `train` wrote"
        ) from error
    return recipe


def check_sizes(recipe: Recipe) -> None:
    """ValueError unless there are a mean and a scale for each feature, and for each target."""
    made = [feature for column in recipe.columns or () for feature in column.features]
    if made and made != list(recipe.features):
        raise ValueError(f"features: got {len(recipe.features)}, expected the {len(made)} of its columns")
    for scales, length in ((recipe.x, len(recipe.features)), (recipe.y, recipe.outputs)):
        if scales is not None and not scales.mean.shape == scales.scale.shape == (length,):
            raise ValueError(f"scales: got shape {scales.scale.shape}, expected ({length},)")


def _is_device(path: str) -> bool:
    """Return whether the path is written to in place, not replaced by a new file: a pipe, /dev/stdout."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@contextlib.contextmanager
def _writing(path: str | None) -> Iterator[TextIO]:
    """Open the file for the predictions, or stdout if there is no path."""
    if path is None:
        if sys.stdout is None:
            raise ValueError("--out: got none, and stdout is closed, expected a file")
        yield sys.stdout
        sys.stdout.flush()
        return
    if _is_device(path):
        try:
            with open(path, "w", newline="", encoding="utf-8") as file:
                yield file
        except OSError as error:  # an error of writing has no name yet
            raise OSError(error.errno, error.strerror, path) from error
        return
    with whole(path) as content:
        text = io.TextIOWrapper(content, newline="", encoding="utf-8", errors="backslashreplace")
        yield text
        text.detach()
