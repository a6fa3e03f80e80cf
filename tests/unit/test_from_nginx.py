"""Whom a worker answers: nginx alone where a network reaches it; whose addresses it believes."""

from __future__ import annotations

import asyncio

import pytest
from tornado.web import Application, RequestHandler

from app.__main__ import is_loopback
from app.from_nginx import FOR_EVERYBODY, Server

SECRET = "s" * 32


class Echo(RequestHandler):
    """Says what it was told of the visitor's address."""

    def get(self) -> None:
        self.write(self.request.headers.get("X-Real-IP", "nothing"))

    post = head = get


async def ask(request: str, *, nginx_alone: bool = True, secret: str = SECRET) -> tuple[int, str]:
    """The status and the body of one raw request's answer."""
    server = Server(Application([("/.*", Echo)]))
    server.secret, server.nginx_alone = secret, nginx_alone
    server.listen(0, "127.0.0.1")
    (listening,) = server._sockets.values()
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(request.encode())
    text = (await asyncio.wait_for(reader.read(), 5)).decode()
    writer.close()
    server.stop()
    await server.close_all_connections()
    head, _, body = text.partition("\r\n\r\n")
    return int(head.split()[1]), body


def request(path: str, *headers: str, method: str = "GET", body: str = "") -> str:
    lines = (f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", "X-Real-IP: 192.0.2.7")
    return "\r\n".join([*lines, *headers, "", body])


async def test_nginx_is_answered() -> None:
    """With the secret every page is answered, and the visitor's address believed."""
    assert await ask(request("/", f"X-Nginx-Secret: {SECRET}")) == (200, "192.0.2.7")


@pytest.mark.parametrize("header", [(), ("X-Nginx-Secret: wrong",)])
@pytest.mark.parametrize("path", ["/", "/login", "/livez/", "/livez?x", "//livez"])
async def test_others_are_refused(path: str, header: tuple[str, ...]) -> None:
    """Whoever lacks the secret gets 403, however the path is written."""
    status, body = await ask(request(path, *header))
    assert status == 403
    assert "NGINX_SECRET" in body


async def test_refused_with_a_body() -> None:
    """A refused request may have a body; it is not waited for, and HEAD has none in its answer."""
    status, _ = await ask(request("/", "Content-Length: 5000", method="POST", body="begun"))
    assert status == 403
    assert await ask(request("/", method="HEAD")) == (403, "")


@pytest.mark.parametrize("path", FOR_EVERYBODY)
async def test_probes(path: str) -> None:
    """Probes and figures are for whoever watches the worker; an address is not believed there either."""
    assert await ask(request(path)) == (200, "nothing")


async def test_on_one_machine() -> None:
    """A worker that only this machine reaches answers anybody, and believes nobody without the secret."""
    assert await ask(request("/"), nginx_alone=False) == (200, "nothing")


async def test_without_a_secret() -> None:
    """Without a secret there is none to ask for: in Docker nobody but nginx reaches a worker."""
    assert await ask(request("/"), secret="") == (200, "192.0.2.7")


def test_loopback() -> None:
    """Only an address of this machine alone keeps others out."""
    assert all(map(is_loopback, ("127.0.0.1", "127.0.0.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.11", "", "worker-1")))
