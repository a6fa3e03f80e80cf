"""A hop between a worker and Redis: it can lose answers to what has happened, and lead elsewhere, as an address that moves."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class LossyHop:
    """Forwards to `port`; while `losing`, it hangs up in place of passing an answer on."""

    def __init__(self, port: int) -> None:
        self.losing = False
        self.lost = 0
        self._to = port
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen, and return the port to use instead."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    def lead_to(self, port: int) -> None:
        """Where further connections go, as when an address moves; those that stand stay."""
        self._to = port

    async def stop(self) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        behind, to = await asyncio.open_connection("127.0.0.1", self._to)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pass(reader, to), self._pass(behind, writer, answers=True))
        for end in (writer, to):
            end.close()

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        while data := await source.read(1 << 16):
            if answers and self.losing:
                self.lost += 1
                raise ConnectionResetError
            sink.write(data)
        raise ConnectionResetError
