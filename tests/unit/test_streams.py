"""One event stream on a real pair of sockets: its bytes, its end, and its bound."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from tornado.iostream import IOStream

from app.allowance import Allowance
from app.events.stream import BUFFER_BYTES, Stream, event

EVENT = event("session", {"visits": 1, "version": 2})
MUCH = b"x" * 10_000


class Pair:
    """A stream, the browser's socket, and who has been told that it closed."""

    def __init__(self, *, chunked: bool) -> None:
        ours, self.browser = socket.socketpair()
        self.browser.settimeout(5)
        for end in (ours, self.browser):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.setblocking(False)
        self.connection = IOStream(ours)
        self.closed: list[Stream] = []
        self.stream = Stream(
            self.connection,
            chunked=chunked,
            on_close=self.closed.append,
            heartbeat=lambda: b":\n\n",
        )

    async def received(self) -> bytes:
        """All that reaches the browser until the end."""
        parts = []
        while part := await asyncio.to_thread(self.browser.recv, 65536):
            parts.append(part)
        return b"".join(parts)


@pytest.fixture
async def pairs() -> AsyncIterator[list[Pair]]:
    pairs: list[Pair] = []
    yield pairs
    for pair in pairs:
        pair.browser.close()
        pair.connection.close()


def test_event() -> None:
    """An event is a name, one line of JSON and an empty line; line breaks in a text cannot start another."""
    assert EVENT == b'event: session\ndata: {"visits":1,"version":2}\n\n'
    told = event("alert", {"text": "a\n\nevent: ended\r\ndata: {}"})
    assert told.count(b"\n") == 3
    assert b"\r" not in told


@pytest.mark.parametrize("chunked", [True, False])
async def test_the_end(pairs: list[Pair], chunked: bool) -> None:
    """A stream ends as its kind of HTTP response ends, after its last event, and says so once."""
    pairs.append(pair := Pair(chunked=chunked))
    pair.stream.send(EVENT)
    pair.stream.close(b"last")
    whole = b"%x\r\n%b\r\n4\r\nlast\r\n0\r\n\r\n" % (len(EVENT), EVENT)
    assert await pair.received() == (whole if chunked else EVENT + b"last")
    await asyncio.sleep(0)
    pair.stream.send(EVENT)
    pair.stream.close(b"again")
    assert pair.closed == [pair.stream]


async def test_a_slow_reader_is_cut_off(pairs: list[Pair]) -> None:
    """Who does not read is cut off before much more than the bound has piled up for him."""
    pairs.append(pair := Pair(chunked=True))
    sent = 0
    while not pair.connection.closed():
        assert sent < 4 * BUFFER_BYTES
        pair.stream.send(MUCH)
        sent += len(MUCH)
    await asyncio.sleep(0)
    assert pair.closed == [pair.stream]


async def test_without_the_bound_it_piles_up(pairs: list[Pair]) -> None:
    """Without the bound the same reader is kept, and what waits for him grows: the test above can fail."""
    pairs.append(pair := Pair(chunked=True))
    pair.connection.max_write_buffer_size = None
    for _ in range(4 * BUFFER_BYTES // len(MUCH)):
        pair.stream.send(MUCH)
    assert not pair.connection.closed()
    assert pair.closed == []


async def test_a_slow_reader_does_not_hold_up_the_end(pairs: list[Pair]) -> None:
    """A stream that still has something to write when it must end is closed at once."""
    pairs.append(pair := Pair(chunked=True))
    while not pair.connection.writing():
        pair.stream.send(MUCH)
    pair.stream.close(b"last")
    assert pair.connection.closed()


async def test_allowance() -> None:
    """An allowance gives its burst at once, then nothing, then one for each share of a second."""
    allowance = Allowance(3, per_second=50)
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
    await asyncio.sleep(0.03)
    assert allowance.take()
