"""`explain`: print where the time of a training step goes."""

from __future__ import annotations

import argparse
from typing import Any

from fastbp.commands.networks import chain, dense_network
from fastbp.commands.threads import use_threads


def add_to(commands: Any) -> None:
    explain = commands.add_parser(
        "explain",
        help="print where the time of a training step goes",
        description="Train a network on random numbers for a second; print for each part of a step its arithmetic, the "
        "time the machine needs for it at least, the time it took, and what bounds it.",
    )
    add = explain.add_argument
    add("sizes", type=chain, metavar="SIZES", help="of inputs, layers and outputs, as 784-128-10")
    add("--batch-size", type=int, default=32, metavar="ROWS", help="rows in a minibatch (%(default)s)")
    add("--activation", default="relu", metavar="NAME", help="of the hidden layers (%(default)s)")
    add("--loss", metavar="NAME", help="(softmax_cross_entropy, or with one output mean_squared_error)")
    add("--optimizer", default="sgd", metavar="NAME", help="sgd, adam, adamw, rmsprop or adagrad (%(default)s)")
    add("--dtype", choices=("float32", "float64"), default="float32", help="(%(default)s)")
    add("--threads", type=int, metavar="N", help="at most (all cores)")
    explain.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table of `Sequential.explain`."""
    use_threads(options.threads)
    net = dense_network(options.sizes, options.activation, dtype=options.dtype)
    print(net.explain(options.batch_size, loss=options.loss, optimizer=options.optimizer))
    return 0
