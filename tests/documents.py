"""The code blocks of a Markdown page, and how the tests run them."""

import importlib.util
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"(?:<!-- needs: (?P<needs>[\w, ]+) -->\s*?\n)?^ *```python.*?\n(?P<code>.*?)^ *```", re.M | re.S)


class Block(NamedTuple):
    line: int  # of the page, where the code begins, from 1
    needs: tuple[str, ...]  # libraries that may be missing
    code: str
    beside: bool  # another block, in a grid of two columns

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def blocks_of(page: Path) -> list[Block]:
    """The blocks marked as Python; <!-- needs: torch --> above one names what it cannot run without."""
    text = page.read_text()
    return [
        Block(
            text.count("\n", 0, match.start("code")) + 1,
            tuple(re.findall(r"\w+", match["needs"] or "")),
            textwrap.dedent(match["code"]),
            text.rfind("<div", 0, match.start()) > text.rfind("</div>", 0, match.start()),
        )
        for match in FENCE.finditer(text)
    ]


def run(page: Path) -> tuple[dict, list[str]]:
    """Run a page's blocks in order, in one namespace; returns it, and what was left out. Tracebacks show the page's lines."""
    names: dict = {"__name__": page.stem}
    left_out = []
    for block in blocks_of(page):
        if block.missing:
            left_out.append(f"line {block.line} needs {', '.join(block.missing)}")
        else:
            exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), names)
    return names, left_out
