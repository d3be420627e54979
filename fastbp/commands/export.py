"""`export`: a model file as an ONNX model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastbp.commands import check_output, say


def add_to(commands: Any) -> None:
    export = commands.add_parser("export", help="write a model as ONNX, for other runtimes")
    export.add_argument("model", metavar="MODEL", help="a model file that `train` or `net.save` wrote")
    export.add_argument("--out", metavar="FILE", help="the ONNX file (the model's name, with .onnx)")
    export.add_argument(
        "--output", choices=("softmax", "sigmoid", "exp"), help="what to end with, for networks of logits"
    )
    export.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read the model, write it as ONNX, and print where."""
    import fastbp as fb

    out = Path(options.out or Path(options.model).with_suffix(".onnx"))
    net = fb.Sequential.load(options.model)
    check_output("--out", out, options.model)
    net.to_onnx(out, output=options.output)
    if "recipe" in net.metadata:
        say("fastbp: the recipe that scales the inputs is no part of the graph")
    print(f"model: {out}")
    return 0
