"""Standard output and error that may lose their reader, as in `make run | head`."""

from __future__ import annotations

import io
import sys
from typing import TextIO


class _Descriptor(io.FileIO):
    """Drops what nobody reads any more, so that a command does the rest of its work."""

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def outlive_readers() -> None:
    """From here on a reader that goes away ends no command, and a character the terminal lacks is a `?`."""
    sys.stdout, sys.stderr = _outliving(sys.stdout), _outliving(sys.stderr)


def _outliving(stream: TextIO) -> TextIO:
    if type(stream) is not io.TextIOWrapper:  # a test's own
        return stream
    raw = _Descriptor(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),  # type: ignore[type-var]
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
