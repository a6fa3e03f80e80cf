"""The HTTP client of the experiments: connections are used again, but not one that was closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lab.client import Client, NoAnswer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: sid=a; Path=/; HttpOnly\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"  # and then the connection is closed
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"


@asynccontextmanager
async def server(answer: bytes, requests: list[bytes]) -> AsyncIterator[str]:
    """Answers every request with `answer`; after CUT and LAST it closes."""

    done: list[asyncio.Task[None]] = []

    async def serve(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while line := await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            requests.append(b"%d %b" % (number, line.strip()))
            writer.write(answer)
            if answer in (CUT, LAST):
                break
        writer.close()
        await writer.wait_closed()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done.append(asyncio.create_task(serve(len(done), reader, writer)))

    listening = await asyncio.start_server(start, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        await asyncio.gather(*done)


async def test_answer() -> None:
    """Status, headers under their own names, and body of an answer are all there."""
    async with server(OK, []) as url, Client(url) as http:
        answer = await http.request("GET", "/", {})
    assert (answer.status, answer.body, answer.headers["Set-Cookie"][:5]) == (200, b"ok", "sid=a")


async def test_connection_is_used_again() -> None:
    """The second request goes over the connection of the first."""
    requests: list[bytes] = []
    async with server(OK, requests) as url, Client(url) as http:
        await http.request("GET", "/a", {})
        await http.request("GET", "/b", {})
    assert requests == [b"0 GET /a HTTP/1.1", b"0 GET /b HTTP/1.1"]


async def test_closed_connection_is_not_used_again() -> None:
    """A connection that the server has closed meanwhile is left alone, though the loop may not know yet."""
    requests: list[bytes] = []
    async with server(LAST, requests) as url, Client(url) as http:
        await http.request("GET", "/a", {})
        await asyncio.sleep(0.05)
        await http.request("GET", "/b", {})
    assert requests == [b"0 GET /a HTTP/1.1", b"1 GET /b HTTP/1.1"]


async def test_idle_connections_are_bounded() -> None:
    """Of two connections used at once a client that may keep one keeps one."""
    requests: list[bytes] = []
    async with server(OK, requests) as url, Client(url, idle=1) as http:
        await asyncio.gather(*(http.request("GET", "/", {}) for _ in range(2)))
        await asyncio.gather(*(http.request("GET", "/", {}) for _ in range(2)))
    assert len({line.split()[0] for line in requests}) == 3


async def test_cut_answer_is_none() -> None:
    """An answer that ends too soon is no answer."""
    async with server(CUT, []) as url, Client(url) as http:
        with pytest.raises(NoAnswer):
            await http.request("GET", "/", {})
