"""What was measured of each operation, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.table import as_markdown

HEADER = (
    *("operation", "may be lost"),
    *("ours: GET, POST lost", "sessions wrong", "stock: GET, POST lost", "sessions wrong"),
)


@dataclass(frozen=True)
class Measured:
    """One operation on one stack."""

    requests: int
    lost_gets: int
    lost_posts: int
    wrong: int
    kept: bool  # whether what was lost is within the promise

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


def _cells(row: Row) -> list[str]:
    stock = _figures(row.stock) if row.stock else ["-", "-"]
    return [row.operation, row.promise, *_figures(row.ours), *stock]


def _figures(measured: Measured) -> list[str]:
    lost = f"{measured.lost_gets}, {measured.lost_posts} of {measured.requests:,}"
    return [lost, str(measured.wrong)]
