"""What was measured of each operation, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from lab.measurements import write_block
from lab.operations.cases import Operation
from lab.operations.target import Target
from lab.table import as_markdown

T = TypeVar("T", bound=Target)

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
    stock: Measured


def compared(
    work: Sequence[Operation[T]], ours: Sequence[Measured], stock: Sequence[Measured]
) -> list[Row]:
    """What was measured of each operation on both stacks."""
    each = zip(work, ours, stock, strict=True)
    return [Row(operation.name, operation.promise, one, other) for operation, one, other in each]


def broken(rows: Sequence[Row]) -> list[str]:
    """The operations in which our stack lost more than is promised, or had wrong sessions."""
    return [
        *(f"{row.operation}: more was lost than may be" for row in rows if not row.ours.kept),
        *(f"{row.operation}: {row.ours.wrong} wrong sessions" for row in rows if row.ours.wrong),
    ]


def publish(place: str, text: str, *, write: bool) -> None:
    """Print a table; with `write` put it into its place in docs/measurements.md too."""
    print(f"\n{text}\n", flush=True)
    if write:
        write_block(place, text)


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    cells = [[r.operation, r.promise, *_figures(r.ours), *_figures(r.stock)] for r in rows]
    return as_markdown(HEADER, cells)


def slow_table(rows: Sequence[Row]) -> str:
    """The rows as Markdown, with how long requests took."""
    cells = []
    for row in rows:
        both = (row.ours, row.stock)
        figures = [(_figures(one)[0], one.waits, str(one.wrong)) for one in both]
        cells.append([row.operation, row.promise, *(cell for part in figures for cell in part)])
    return as_markdown(SLOW_HEADER, cells)


def _figures(measured: Measured) -> list[str]:
    lost = f"{measured.lost_gets}, {measured.lost_posts} of {measured.requests:,}"
    return [lost, str(measured.wrong)]
