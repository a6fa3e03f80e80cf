"""One open event stream: server-sent events (WHATWG HTML, section 9.2) to one browser.

The HTTP machinery has let go of the connection, so an idle stream is a socket and this small object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ujson
from tornado.iostream import IOStream, StreamBufferFullError, StreamClosedError

from app.sessions import Watch

# What may wait for a browser beyond the kernel's own buffers; then it is dropped.
BUFFER_BYTES = 64 * 1024


class Stream:
    """Tells a browser what becomes of its session.  Nothing here raises: a lost browser is no error."""

    __slots__ = ("_chunked", "_connection", "_heartbeat", "_on_close", "watch")

    def __init__(
        self,
        connection: IOStream,
        *,
        chunked: bool,
        on_close: Callable[[Stream], None],
        heartbeat: Callable[[], bytes],
    ) -> None:
        """`connection` has sent the response's header; `on_close` is called once, whoever closes."""
        self._connection = connection
        self._chunked = chunked
        self._heartbeat = heartbeat
        self._on_close: Callable[[Stream], None] | None = on_close
        self.watch: Watch | None = None
        connection.max_write_buffer_size = BUFFER_BYTES
        connection.set_close_callback(self._closed)

    def send(self, data: bytes) -> None:
        """Write without waiting.  A browser that reads too slowly for BUFFER_BYTES is cut off."""
        try:
            self._connection.write(self._framed(data))
        except StreamBufferFullError:
            self._connection.close()
        except StreamClosedError:
            pass  # _closed has been called, or will be

    def close(self, last: bytes) -> None:
        """Send `last` and end the response as HTTP ends one; who has not read the rest is cut off."""
        behind = self._connection.writing()
        self.send(last)
        if behind or self._connection.closed():
            self._connection.close()
            return
        try:
            end = self._connection.write(b"0\r\n\r\n" if self._chunked else b"")
            end.add_done_callback(lambda _: self._connection.close())
        except (StreamBufferFullError, StreamClosedError):
            self._connection.close()

    # ---- what the session's watch calls

    def changed(self, version: int, value: Any, ends_in: float | None) -> None:
        facts = {"visits": value, "version": version}
        if ends_in is not None:
            facts["idle_expires_in"] = round(ends_in, 3)
        self.send(event("session", facts))

    def ended(self, reason: str) -> None:
        self.close(event("ended", {"reason": reason}))

    def beat(self) -> None:
        """No event: it keeps proxies from giving up, and finds out that a browser has gone."""
        self.send(self._heartbeat())

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _closed(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close(self)


def event(name: str, facts: dict[str, Any]) -> bytes:
    """One event as bytes; JSON has no line breaks, so one data line holds it."""
    text = ujson.dumps(facts, allow_nan=False, escape_forward_slashes=False)
    return f"event: {name}\ndata: {text}\n\n".encode()
