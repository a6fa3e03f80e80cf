"""Standard output and error: they may lose their reader, as in `make run | head`, and are never silent for long."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

SILENT_SECONDS = 5.0


class _Descriptor(io.FileIO):
    """Drops what nobody reads any more, so that a command does the rest of its work."""

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


class _Stream(io.TextIOWrapper):
    """Knows when it was written to, and whether dots stand where the next text begins."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        raw = _Descriptor(stream.fileno(), "w", closefd=False)
        super().__init__(
            raw if stream.write_through else io.BufferedWriter(raw),  # type: ignore[type-var]
            encoding=stream.encoding,
            errors="replace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self._lock = threading.RLock()
        self._at = time.monotonic()
        self._new_line, self._dots_alone = True, False

    def write(self, text: str, /) -> int:
        with self._lock:
            if self._dots_alone:
                super().write("\n")
            self._dots_alone = False
            self._at, self._new_line = time.monotonic(), text.endswith("\n")
            return super().write(text)

    def add_dot(self) -> None:
        """Show that it goes on, if nothing was written for a while."""
        with self._lock:
            if time.monotonic() - self._at >= SILENT_SECONDS:
                alone = self._dots_alone or self._new_line
                self._dots_alone = False
                self.write(".")
                self._dots_alone = alone
                self.flush()


def outlive_readers() -> None:
    """From here on a reader that goes away ends no command, and a character the terminal lacks is a `?`."""
    sys.stdout, sys.stderr = _outliving(sys.stdout), _outliving(sys.stderr)


def _outliving(stream: TextIO) -> TextIO:
    return _Stream(stream) if type(stream) is io.TextIOWrapper else stream  # else a test's own


@contextmanager
def never_silent() -> Iterator[None]:
    """While the block prints nothing, each five seconds a dot says that it goes on; needs outlive_readers()."""
    stream, over = sys.stdout, threading.Event()
    if not isinstance(stream, _Stream):
        yield
        return
    watch = threading.Thread(target=_add_dots, args=(stream, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
        stream.write("")  # ends a line of dots


def _add_dots(stream: _Stream, over: threading.Event) -> None:
    while not over.wait(0.2):
        stream.add_dot()
