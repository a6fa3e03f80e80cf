"""The one printer of tables: for a terminal, and for a Markdown document."""

from __future__ import annotations

from collections.abc import Sequence

Row = Sequence[str]


def as_text(header: Row, rows: Sequence[Row], *, right: bool = False) -> str:
    """Columns under each other, two spaces apart; `right` aligns all but the first to the right."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_padded(line, widths, right).rstrip() for line in lines)


def as_markdown(header: Row, rows: Sequence[Row]) -> str:
    """A table as GitHub's Markdown has it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _padded(line: Row, widths: Sequence[int], right: bool) -> str:
    cells = [
        cell.rjust(width) if right and number else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells)
