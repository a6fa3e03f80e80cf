"""A small HTTP/1.1 client for asyncio: keep-alive connections, taken and given back."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h11

READ_BYTES = 1 << 16
IDLE_SECONDS = (
    30.0  # an older connection is not used again: servers close them after a minute or so
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response; header names are as the load test's readers of answers look them up."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(OSError):
    """The connection ended, or spoke something else than HTTP, before a whole answer was there."""


class Client:
    """Requests to one address, each on an idle connection or on a new one."""

    def __init__(self, url: str, timeout_seconds: float = 20) -> None:
        parts = urlsplit(url)
        self._host, self._tls = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._name = parts.netloc
        self._timeout = timeout_seconds
        self._idle: list[tuple[float, _Connection]] = []  # since when, on the loop's clock

    async def open(self, count: int) -> None:
        """Have that many connections open before the first request needs one."""
        for _ in range(count):
            self._give_back(await self._connect())

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        """OSError, TimeoutError included: no answer came."""
        async with asyncio.timeout(self._timeout):
            connection = self._take() or await self._connect()
            try:
                answer = await connection.exchange(method, target, headers, body)
            except BaseException:
                connection.close()
                raise
        if connection.reusable():
            self._give_back(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close what is idle; no request may be under way."""
        while self._idle:
            self._idle.pop()[1].close()

    def _give_back(self, connection: "_Connection") -> None:
        self._idle.append((asyncio.get_running_loop().time(), connection))

    def _take(self) -> "_Connection | None":
        """The connection that was used last, unless that is long ago: then all are closed."""
        if not self._idle:
            return None
        since, connection = self._idle.pop()
        if asyncio.get_running_loop().time() - since < IDLE_SECONDS:
            return connection
        connection.close()
        self.close()
        return None

    async def _connect(self) -> "_Connection":
        streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls or None)
        return _Connection(*streams, self._name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Connection:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
    ) -> None:
        self._reader, self._writer, self._host = reader, writer, host
        self._state = h11.Connection(h11.CLIENT)

    async def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        given = {"Host": self._host, **headers}
        if body:
            given["Content-Length"] = str(len(body))
        head = h11.Request(method=method, target=target, headers=list(given.items()))
        parts = [head, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()]
        self._writer.write(b"".join(self._state.send(part) or b"" for part in parts))
        try:
            return await self._answer()
        except h11.ProtocolError as error:
            raise NoAnswer(str(error)) from error

    async def _answer(self) -> Answer:
        status, headers, body = 0, {}, b""
        while True:
            event = self._state.next_event()
            if event is h11.NEED_DATA:
                self._state.receive_data(await self._reader.read(READ_BYTES))
            elif isinstance(event, h11.Response):
                status = event.status_code
                raw = event.headers.raw_items()
                headers = {name.decode(): value.decode("latin-1") for name, value in raw}
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, headers, body)
            else:
                raise NoAnswer("the connection was closed")

    def reusable(self) -> bool:
        """Whether another request may follow; makes it ready for one."""
        if self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            return False
        self._state.start_next_cycle()
        return True

    def close(self) -> None:
        self._writer.close()


def cookie_of(answer: Answer) -> str | None:
    """The Cookie header that the answer's Set-Cookie asks for."""
    cookies = SimpleCookie(answer.headers.get("Set-Cookie", ""))
    return next((f"{c.key}={c.coded_value}" for c in cookies.values()), None)
