"""When a worker gives memory back: after a crowd of event streams, however short its stay."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.iostream import IOStream

from app import memory
from app.events.hub import Hub
from tests.unit.test_session import session_of


class NobodyElse:
    """Notices of a worker that has no Redis."""

    def subscribe(self, *_: object) -> None:
        pass

    def watch(self, *_: object) -> None:
        pass

    def unwatch(self, *_: object) -> None:
        pass


async def come_and_go(hub: Hub, streams: int) -> None:
    """Open so many streams, and close them before the event loop does anything else."""
    for _ in range(streams):
        ours, browser = socket.socketpair()
        ours.setblocking(False)
        connection = IOStream(ours)
        hub.add(connection, session_of(), chunked=False)
        connection.close()
        browser.close()
    await asyncio.sleep(0.05)
    assert not hub.open


@pytest.mark.parametrize("streams", [memory.CROWD - 1, memory.CROWD])
async def test_crowd_between_two_looks(monkeypatch: pytest.MonkeyPatch, streams: int) -> None:
    """A crowd that comes and goes while nobody looks is seen; fewer streams are not worth a pause."""
    given_back: list[int] = []
    library = SimpleNamespace(malloc_trim=given_back.append)
    monkeypatch.setattr(memory, "ctypes", SimpleNamespace(CDLL=lambda _: library))
    monkeypatch.setattr(memory, "gc", SimpleNamespace(collect=int, freeze=int))
    monkeypatch.setattr(memory, "LOOK_SECONDS", 0.02)
    notices: Any = NobodyElse()
    hub = Hub(notices, {"worker": "8001"})
    task = asyncio.create_task(memory.give_back(hub.most_open, lambda: len(hub.open)))
    await come_and_go(hub, streams)
    await asyncio.sleep(0.1)
    task.cancel()
    assert bool(given_back) is (streams == memory.CROWD)
