"""The stored history: JSON lines, one header, then one line a finished request.

A line has the fields of `op.Op`, in the order they finished; empty ones are left out. Times are
nanoseconds of the generator's monotonic clock. With several generator processes the lines of each
stand together, and the part of a session's label before `-` tells which (`g1-s7`).
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Protocol, Self

from loadtest.check.op import Kind, Lifetimes, Op, Outcome

FORMAT = 2
_NAMES = tuple(field.name for field in fields(Op))
_KINDS = {str(kind): kind for kind in Kind}
_OUTCOMES = {str(outcome): outcome for outcome in Outcome}
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Sink(Protocol):
    """Where finished requests go."""

    def write(self, op: Op) -> None:
        """Take one finished request."""

    def close(self) -> None:
        """Nothing more will come."""


class HistoryWriter:
    """Writes a history; what it has taken is on disk once it is closed."""

    def __init__(self, path: Path, lifetimes: Lifetimes, **about: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8", buffering=1 << 16)
        self._file.write(_encode({"history": FORMAT, **asdict(lifetimes), **about}) + "\n")

    def write(self, op: Op) -> None:
        """Append one finished request."""
        self._file.write(encode_line(op))

    def append_file(self, path: Path) -> None:
        """Append lines that another process has encoded."""
        with path.open(encoding="utf-8") as lines:
            shutil.copyfileobj(lines, self._file)

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def encode_line(op: Op) -> str:
    """The line of one request."""
    return _encode(to_json(op)) + "\n"


def to_json(op: Op) -> dict[str, Any]:
    """The request as a JSON object without its empty fields."""
    return {
        name: value for name in _NAMES if (value := getattr(op, name)) is not None and value != ""
    }


def from_json(line: dict[str, Any]) -> Op:
    """The request that `to_json` wrote. KeyError, TypeError or ValueError: it did not."""
    line["kind"] = _KINDS[line["kind"]]
    line["outcome"] = _OUTCOMES[line["outcome"]]
    for name in ("ends", "refs"):
        if name in line:
            line[name] = tuple(line[name])
    return Op(**line)


def read_header(path: Path) -> dict[str, Any]:
    """The first line of a stored history. ValueError: the file is something else."""
    with path.open(encoding="utf-8") as file:
        header = json.loads(file.readline() or "{}")
    if not isinstance(header, dict) or header.get("history") != FORMAT:
        raise ValueError(f"{path} is no load-test history of format {FORMAT}")
    return header


def read_ops(path: Path) -> Iterator[Op]:
    """The requests of a stored history, in the order they finished."""
    with path.open(encoding="utf-8") as file:
        next(file)
        for line in file:
            yield from_json(json.loads(line))


def lifetimes_of(header: dict[str, Any]) -> Lifetimes:
    """The lifetimes that the header's run allowed."""
    return Lifetimes(**{field.name: header[field.name] for field in fields(Lifetimes)})
