"""What was measured, as a Markdown table, and its place in the README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HEAD = """| operation | may be lost | ours: GET, POST lost | sessions wrong | stock: GET, POST lost | sessions wrong |
|---|---|---|---|---|---|"""


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
    operation: str
    promise: str
    ours: Measured
    stock: Measured | None


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    return "\n".join([HEAD, *map(_line, rows)])


def write_into(path: Path, name: str, text: str) -> None:
    """Replace what stands between the comments `name` and `/name` in a Markdown file."""
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    old = path.read_text()
    new, count = place.subn(lambda match: f"{match[1]}{text}\n{match[2]}", old)
    if count != 1:
        raise ValueError(f"{path} has {count} places called {name}")
    path.write_text(new)


def _line(row: Row) -> str:
    cells = [row.operation, row.promise, *_cells(row.ours)]
    cells += _cells(row.stock) if row.stock else ["-", "-"]
    return f"| {' | '.join(cells)} |"


def _cells(measured: Measured) -> list[str]:
    lost = f"{measured.lost_gets}, {measured.lost_posts} of {measured.requests:,}"
    return [lost, str(measured.wrong)]
