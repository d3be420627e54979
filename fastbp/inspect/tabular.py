"""Lays out rows of cells as text for a terminal, and as HTML for a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence


def as_text(cells: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    """Return the lines of a table, headings first, columns two blanks apart; `left`: whether each column is aligned left."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(aligned, row, widths, left)).rstrip() for row in cells]


def aligned(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)


def as_html(caption: Sequence[str], cells: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    """Return the same table as HTML, under the lines of a caption."""
    head, *body = cells
    rows = "".join(html_row(row, "td", left) for row in body)
    above = "<br>".join(map(html.escape, caption))
    return f"<div>{above}<table><thead>{html_row(head, 'th', left)}</thead><tbody>{rows}</tbody></table></div>"


def html_row(row: Sequence[str], tag: str, left: Sequence[bool]) -> str:
    sides = ("left" if at_left else "right" for at_left in left)
    cells = (
        f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>' for cell, side in zip(row, sides, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"
