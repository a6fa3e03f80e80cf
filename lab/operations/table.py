"""What was measured of each operation, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.table import as_markdown

HEADER = (
    *("operation", "may be lost"),
    *("ours: GET, POST lost", "sessions wrong", "stock: GET, POST lost", "sessions wrong"),
)


SLOW_HEADER = (
    *("what happens", "may be lost", "lost: GET, POST", "more than 1 s, longest", "sessions wrong"),
    *("before: GET, POST lost", "more than 1 s, longest", "sessions wrong"),
)


@dataclass(frozen=True)
class Measured:
    """One operation on one stack."""

    requests: int
    lost_gets: int
    lost_posts: int
    wrong: int
    kept: bool  # whether what was lost is within the promise
    waits: str = ""  # how many took more than a second, and the longest

    @property
    def lost(self) -> int:
        return self.lost_gets + self.lost_posts


@dataclass(frozen=True)
class Row:
    """One operation on both."""

    operation: str
    promise: str
    ours: Measured
    stock: Measured | None


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    return as_markdown(HEADER, [_cells(row) for row in rows])


def slow_table(rows: Sequence[Row]) -> str:
    """The rows as Markdown, with how long requests took."""
    cells = []
    for row in rows:
        both = [row.ours, *([row.stock] if row.stock else [])]
        figures = [(_figures(one)[0], one.waits, str(one.wrong)) for one in both]
        cells.append([row.operation, row.promise, *(cell for part in figures for cell in part)])
    return as_markdown(SLOW_HEADER, cells)


def _cells(row: Row) -> list[str]:
    stock = _figures(row.stock) if row.stock else ["-", "-"]
    return [row.operation, row.promise, *_figures(row.ours), *stock]


def _figures(measured: Measured) -> list[str]:
    lost = f"{measured.lost_gets}, {measured.lost_posts} of {measured.requests:,}"
    return [lost, str(measured.wrong)]
