"""Whether a request came through nginx: only then is the visitor's address believed that its headers name.

nginx and the workers share NGINX_SECRET. Another user of this machine can ask a worker's port, but does not know it,
so he cannot have failures of his count for other addresses, or appear under them in a list of devices.

A worker that listens to a network answers nginx alone.  Its probes and figures are for whoever watches it: they name
no visitor.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

HEADER = "X-Nginx-Secret"
CLAIMS = ("X-Real-IP", "X-Forwarded-For", "X-Scheme", "X-Forwarded-Proto")
FOR_EVERYBODY = ("/livez", "/readyz", "/healthz", "/metrics")
REFUSAL = b"a worker answers nginx alone: NGINX_SECRET is missing or another one\n"


class Server(HTTPServer):
    """Without a secret everybody who reaches the port is believed, as is right where only nginx does."""

    secret = ""
    nginx_alone = False

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        delegate = super().start_request(server_conn, request_conn)
        if not self.secret:
            return delegate
        return Checked(delegate, self.secret.encode(), request_conn if self.nginx_alone else None)


class Checked(HTTPMessageDelegate):
    """Takes the secret out of the headers, and the claims too when the secret was wrong.

    With `refused`, the connection, a request with a wrong one is answered there with 403 and goes no further.
    """

    def __init__(
        self, delegate: HTTPMessageDelegate, secret: bytes, refused: HTTPConnection | None = None
    ) -> None:
        self.delegate = delegate
        self.secret = secret
        self.refused = refused
        # Called many times in a large request: no step in between.
        self.data_received = delegate.data_received  # type: ignore[method-assign]
        self.finish = delegate.finish  # type: ignore[method-assign]
        self.on_connection_close = delegate.on_connection_close  # type: ignore[method-assign]

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        given = headers.get(HEADER, "")
        if given:
            del headers[HEADER]
        if not hmac.compare_digest(given.encode(), self.secret):
            if self.refused and not _is_for_everybody(start_line):
                self.on_connection_close = lambda: None  # type: ignore[method-assign]
                return refuse(self.refused, start_line)
            for name in CLAIMS:
                if name in headers:
                    del headers[name]
        return self.delegate.headers_received(start_line, headers)


def _is_for_everybody(start_line: RequestStartLine | ResponseStartLine) -> bool:
    """Probes, and the figures; a query or another spelling of the path is not among them."""
    return isinstance(start_line, RequestStartLine) and start_line.path in FOR_EVERYBODY


def refuse(
    connection: HTTPConnection, start_line: RequestStartLine | ResponseStartLine
) -> Awaitable[None]:
    """Answer 403 and close; what the client still sends of its request is not read."""
    headers = HTTPHeaders(
        {"Content-Type": "text/plain", "Content-Length": str(len(REFUSAL)), "Connection": "close"}
    )
    body = None if start_line[0] == "HEAD" else REFUSAL
    written = connection.write_headers(ResponseStartLine("", 403, "Forbidden"), headers, body)
    connection.finish()
    return written
