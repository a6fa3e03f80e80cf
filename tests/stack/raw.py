"""Requests that no HTTP library would send: bytes over a socket, and what comes back."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """The first answer on a connection; status 0 when it was closed without one."""

    status: int
    headers: dict[str, str]
    head: str
    seconds: float  # from the last byte sent until the server closed


def ask(
    port: int, request: bytes, *, source: str = "127.0.0.1", seconds: float = 30, waits: bool = True
) -> Answer:
    """Send `request` and read until the server closes, for at most `seconds`.

    nginx waits five seconds for the rest of a request that it has refused, unless the client does not wait.
    """
    with socket.create_connection(("127.0.0.1", port), seconds, (source, 0)) as raw:
        raw.sendall(request)
        started = time.monotonic()
        received = b""
        try:
            while chunk := raw.recv(65536):
                received += chunk
                if not waits:
                    with suppress(OSError):  # it may have closed already
                        raw.shutdown(socket.SHUT_WR)
        except ConnectionResetError:
            pass
        return _answer(received, time.monotonic() - started)


def request(method: str, path: str, *lines: str, host: str = "127.0.0.1", body: str = "") -> bytes:
    """A request that asks to close the connection afterwards; `lines` are further headers."""
    length = [f"Content-Length: {len(body)}"] if body else []
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *length, *lines]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def _answer(received: bytes, seconds: float) -> Answer:
    head = received.partition(b"\r\n\r\n")[0].decode("latin-1")
    first, *lines = head.split("\r\n")
    words = first.split()
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    pairs = (line.partition(":") for line in lines)
    return Answer(status, {name.lower(): value.strip() for name, _, value in pairs}, head, seconds)
