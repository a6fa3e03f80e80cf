"""Whether a request came through nginx: only then is the visitor's address believed that its headers name.

nginx and the workers share NGINX_SECRET. Another user of this machine can ask a worker's port, but does not know it,
so he cannot have failures of his count for other addresses, or appear under them in a list of devices.
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
ADDRESSES = ("X-Real-IP", "X-Forwarded-For")


class Server(HTTPServer):
    """Without a secret everybody who reaches the port is believed, as is right where only nginx does."""

    secret = ""

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        delegate = super().start_request(server_conn, request_conn)
        return Checked(delegate, self.secret.encode()) if self.secret else delegate


class Checked(HTTPMessageDelegate):
    """Takes the secret out of the headers, and the addresses too when the secret was wrong."""

    def __init__(self, delegate: HTTPMessageDelegate, secret: bytes) -> None:
        self.delegate = delegate
        self.secret = secret
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
            for name in ADDRESSES:
                if name in headers:
                    del headers[name]
        return self.delegate.headers_received(start_line, headers)
