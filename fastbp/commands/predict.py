"""`predict`: write a model's predictions for a file."""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
from collections.abc import Iterator
from typing import Any, TextIO


def add_to(commands: Any) -> None:
    predict = commands.add_parser("predict", help="write a model's predictions for a file as CSV")
    predict.add_argument("model", metavar="MODEL", help="a model file that `train` wrote")
    predict.add_argument("file", metavar="FILE", help="a .csv with the features' columns, an .npz, or: digits")
    predict.add_argument("--x-key", default="x", metavar="KEY", help="the array of an .npz (x)")
    predict.add_argument("--out", metavar="FILE", help="where to write (stdout)")
    predict.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read model and file, write one line of predictions a row."""
    import fastbp as fb
    from fastbp import datasets

    net = fb.Sequential.load(options.model)
    if "recipe" not in net.metadata:
        raise ValueError(f"{options.model}: a network saved without its recipe, expected a file that `train` wrote")
    recipe = datasets.Recipe.from_metadata(net.metadata["recipe"])
    if options.file == "digits":
        x = datasets.load_digits().x
    else:
        x = datasets.load_features(options.file, recipe.columns, len(recipe.features), options.x_key)
    output = net.predict(recipe.inputs(x))
    with _writing(options.out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(recipe.header)
        writer.writerows(recipe.predictions(output))
    return 0


@contextlib.contextmanager
def _writing(path: str | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with open(path, "w", newline="", encoding="utf-8") as file:
        yield file
