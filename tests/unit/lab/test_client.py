"""The HTTP client of the comparison: connections are used again, but not after a long pause."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lab import client
from lab.client import Client, NoAnswer, cookie_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: sid=a; Path=/; HttpOnly\r\n\r\nok"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"


@asynccontextmanager
async def server(answer: bytes, requests: list[bytes]) -> AsyncIterator[str]:
    """Answers every request with `answer`; one that is cut short is followed by a close."""

    done: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(requests)
        while line := await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            requests.append(b"%d %b" % (number, line.strip()))
            writer.write(answer)
            if answer is CUT:
                break
        writer.close()
        await writer.wait_closed()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done.append(asyncio.create_task(serve(reader, writer)))

    listening = await asyncio.start_server(start, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        await asyncio.gather(*done)


async def test_answer() -> None:
    """Status, headers under their own names, body and cookie of an answer are all there."""
    async with server(OK, []) as url, Client(url) as http:
        answer = await http.request("GET", "/", {})
    assert (answer.status, answer.body, answer.headers["Set-Cookie"][:5]) == (200, b"ok", "sid=a")
    assert cookie_of(answer) == "sid=a"


async def test_connection_is_used_again() -> None:
    """The second request goes over the connection of the first."""
    requests: list[bytes] = []
    async with server(OK, requests) as url, Client(url) as http:
        await http.request("GET", "/a", {})
        await http.request("GET", "/b", {})
    assert requests == [b"0 GET /a HTTP/1.1", b"0 GET /b HTTP/1.1"]


async def test_old_connection_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause in which the server may have closed it, a connection is left alone."""
    monkeypatch.setattr(client, "IDLE_SECONDS", 0.0)
    requests: list[bytes] = []
    async with server(OK, requests) as url, Client(url) as http:
        await http.request("GET", "/a", {})
        await http.request("GET", "/b", {})
    assert requests == [b"0 GET /a HTTP/1.1", b"1 GET /b HTTP/1.1"]


async def test_cut_answer_is_none() -> None:
    """An answer that ends too soon is no answer."""
    async with server(CUT, []) as url, Client(url) as http:
        with pytest.raises(NoAnswer):
            await http.request("GET", "/", {})
