"""`bench`: the time of a step of training, side by side with other libraries."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from fastbp.commands import say
from fastbp.commands.networks import chain

NETWORKS = "4-32-32-3@32,64-64-10@32,784-128-10@32,784-512-512-10@128"
CONTENDERS = ("fastbp", "numpy", "sklearn", "torch", "jax")


def add_to(commands: Any) -> None:
    bench = commands.add_parser(
        "bench",
        help="compare the time of a training step with other libraries",
        description="Train networks with fastbp, NumPy, and scikit-learn, PyTorch and JAX where they are installed, on the "
        "same numbers, in turns; print the time of a step and its share of what the machine can do. Let nothing else run.",
    )
    add = bench.add_argument
    add("--networks", type=_networks, default=NETWORKS, metavar="LIST",
        help="sizes of inputs, layers and outputs, with the rows in a minibatch after @ (%(default)s)")  # fmt: skip
    add("--batch-size", type=int, default=32, metavar="ROWS", help="where a network has no @ (%(default)s)")
    add("--activation", choices=("relu", "tanh", "sigmoid"), default="relu", help="of the hidden layers (%(default)s)")
    add("--optimizer", choices=("sgd", "adam"), default="sgd", help="(%(default)s)")
    add("--dtype", choices=("float32", "float64"), default="float32", help="(%(default)s)")
    add("--contenders", type=_contenders, default=CONTENDERS, metavar="LIST", help=f"({','.join(CONTENDERS)})")
    add("--compiled", action="store_true", help="PyTorch through torch.compile too, which takes a minute to compile")
    add("--threads", type=int, metavar="N", help="of every contender (all cores)")
    add("--rounds", type=int, default=5, metavar="N", help="turns of each contender; the best one counts (%(default)s)")
    add("--seconds", type=float, default=0.1, metavar="S",
        help="what a timing of 10 to 1000 steps aims at (%(default)s)")  # fmt: skip
    add("--plot", metavar="FILE", help="save a chart, as bench.png")
    add("--json", metavar="FILE", help="save the figures")
    bench.set_defaults(run=run)


def _networks(text: str) -> tuple[tuple[tuple[int, ...], int | None], ...]:
    """Return pairs of sizes and rows, None where the rows are not given."""
    return tuple(map(_network, text.split(",")))


def _network(text: str) -> tuple[tuple[int, ...], int | None]:
    sizes, at, rows = text.partition("@")
    if at and not (rows.isdecimal() and int(rows) > 0):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number >= 1 after @, as in 784-128-10@32")
    if chain(sizes)[-1] < 2:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected two outputs or more, one for each class")
    return chain(sizes), int(rows) if at else None


def _contenders(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if not set(names) <= set(CONTENDERS):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected some of {','.join(CONTENDERS)}")
    return names


def run(options: argparse.Namespace) -> int:
    """Compare; print the table, write the files asked for."""
    from fastbp.bench.chart import chart, require_matplotlib
    from fastbp.bench.comparison import compare
    from fastbp.bench.table import table
    from fastbp.checks import real_number, whole_number
    from fastbp.gemm.peak import checked_threads
    from fastbp.io.files import check_writable, whole, write_whole

    whole_number("--rounds", options.rounds, at_least=1)
    real_number("--seconds", options.seconds, above=0)
    works, threads = _works(options), checked_threads(options.threads)
    if options.plot:
        require_matplotlib(options.plot)
    for option in ("plot", "json"):  # what would fail at the end fails first
        if getattr(options, option):
            check_writable(f"--{option}", getattr(options, option))
    found = compare(
        works, (*options.contenders, *["torch.compile"] * options.compiled),
        threads=threads, rounds=options.rounds, seconds=options.seconds, report=_report,
    )  # fmt: skip
    print(table(found))
    if options.json:
        write_whole(options.json, f"{json.dumps(found.as_json(), indent=1)}\n".encode())
    if options.plot:
        with whole(options.plot) as file:
            chart(found).savefig(file, format=Path(options.plot).suffix.lower().lstrip("."))
    return 0


def _works(options: argparse.Namespace) -> list[Any]:
    from fastbp.bench.workload import Workload
    from fastbp.checks import whole_number

    rows = whole_number("--batch-size", options.batch_size, at_least=1)
    settings = options.activation, options.optimizer, options.dtype
    return [Workload(sizes, own_rows or rows, *settings) for sizes, own_rows in options.networks]


def _report(network: str) -> None:
    say(f"fastbp: {network} ...")
