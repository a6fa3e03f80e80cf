"""One HTTP request of an operation, on a connection of its own: no proxy, no redirect, no check of the certificate."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

MOST_BYTES = 1 << 20  # whatever listens there, it cannot fill this process's memory


class NoAnswer(Exception):
    """Nothing that speaks HTTP answered in time; the text says what happened instead."""


@dataclass(frozen=True)
class Answer:
    """`text` is the body, as far as it is UTF-8."""

    status: int
    headers: http.client.HTTPMessage
    text: str


def ask(
    origin: str,
    path: str,
    *,
    method: str = "GET",
    body: str = "",
    headers: Mapping[str, str] | None = None,
    seconds: float = 5,
) -> Answer:
    """Send it once to `origin`, like http://127.0.0.1:8080; each wait lasts `seconds` at most.

    NoAnswer when none came.  These are questions to our own stack, so the certificate is left to browsers.
    """
    try:
        connection = _connection(origin, seconds)
        try:
            connection.request(method, path, body or None, dict(headers or {}))
            answer = connection.getresponse()
            text = answer.read(MOST_BYTES).decode("utf-8", "replace")
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from None
    return Answer(answer.status, answer.headers, text.strip())


def _connection(origin: str, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=seconds)
    unchecked = ssl._create_unverified_context()
    return http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=unchecked)
