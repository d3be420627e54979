"""The command line: python -m fastbp {train,predict,explain,bench,export,compile,info}.

Results go to stdout, progress and messages to stderr. Exit codes: 0, 2 for what the user can mend, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import NoReturn

from fastbp.commands import INTERRUPTED, bench, compile, explain, export, info, predict, say, silence, train

USER_ERRORS = (ValueError, TypeError, ArithmeticError, OSError, ImportError)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"fastbp: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; SystemExit from argparse for --help and bad options."""
    options = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a label that stdout cannot encode
    return _flushed(_run(options))


def _run(options: argparse.Namespace) -> int:
    try:
        return options.run(options)
    except BrokenPipeError:  # of `fastbp predict ... | head`: the reader has enough
        return 1
    except USER_ERRORS as error:
        say(f"fastbp: error: {error}")
        return 2
    except KeyboardInterrupt:
        say("fastbp: interrupted")
        return INTERRUPTED


def _flushed(code: int) -> int:
    """Return the exit code, after what stdout still holds has been written; another if that fails, as on a full disk."""
    if sys.stdout is None:  # closed
        return code
    try:
        sys.stdout.flush()
    except OSError as error:
        silence(sys.stdout)
        if code == 0 and not isinstance(error, BrokenPipeError):
            say(f"fastbp: error: stdout: {error.strerror}")
            return 2
        return code or 1
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `run` of what it returns is the function of the chosen one."""
    parser = Parser(prog="fastbp", description="Train dense neural networks on the CPU.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (train, predict, explain, bench, export, compile, info):
        command.add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
