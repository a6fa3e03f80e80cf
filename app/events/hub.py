"""The hub: every open event stream of this worker, and the alerts that reach those of every worker."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable

import ujson
from tornado.iostream import IOStream

from app.allowance import Allowance
from app.events.jitter import STREAMS_A_SECOND, retry, spread_ms
from app.events.stream import Stream, event
from app.sessions import Notices, Session

CHANNEL = "alerts"
MAX_TEXT_CHARACTERS = 500
MAX_STREAMS_PER_SESSION = 20  # on one worker: a browser opens one a page
MAX_PENDING = 100  # alerts not yet delivered; beyond that the oldest are dropped
STREAMS_A_TURN = 200  # written to before the event loop may answer a request again
MOVED_SECONDS = 50  # before worker_shutdown_timeout in nginx/nginx.conf cuts off what is left
TICK_SECONDS = 0.1
BURST, PER_SECOND = 50, 10.0  # alerts this worker takes: each is written to every stream
USER_BURST, USER_PER_SECOND = 20, 2.0  # of these one user's: nobody can use up those of others
MAX_ALLOWANCES = 1000  # of users, remembered; beyond that those that are full again are forgotten

log = logging.getLogger("app")


class Hub:
    """Create one for each worker, and keep `run` running."""

    def __init__(self, notices: Notices, worker: dict[str, str]) -> None:
        """`worker` is part of the first event of each stream."""
        self.open: set[Stream] = set()
        self._most_open = 0
        self.dropped = 0  # alerts that arrived faster than they could be delivered
        self._notices = notices
        self._worker = worker
        self._draining = False
        self._moving: asyncio.Task[None] | None = None
        self._pending: deque[bytes] = deque(maxlen=MAX_PENDING)
        self._wake = asyncio.Event()
        self._allowance = Allowance(BURST, PER_SECOND)
        self._allowances: dict[str, Allowance] = {}  # by user
        notices.subscribe(CHANNEL, self._alerted, self._tell_whether_heard)

    async def run(self) -> None:
        """Receive and deliver until cancelled."""
        async with asyncio.TaskGroup() as together:
            together.create_task(self._notices.run())
            together.create_task(self._deliver())

    async def publish(self, session: Session, text: str) -> bool | None:
        """Send an alert to every stream of every worker.

        False when `session` has ended; None when there were too many alerts.  Raises StoreUnavailable.
        """
        if not (self._allowance_of(session.user).take() and self._allowance.take()):
            return None
        alert = {"text": text, "from": session.user, "worker": self._worker["worker"]}
        return await self._notices.publish(session, CHANNEL, ujson.dumps(alert, allow_nan=False))

    def _allowance_of(self, user: str) -> Allowance:
        if len(self._allowances) >= MAX_ALLOWANCES and user not in self._allowances:
            self._allowances = {name: one for name, one in self._allowances.items() if not one.full}
        return self._allowances.setdefault(user, Allowance(USER_BURST, USER_PER_SECOND))

    def full(self, session: Session) -> bool:
        """Whether this session may have no more streams here."""
        return self._notices.watchers(session) >= MAX_STREAMS_PER_SESSION

    def greeting(self, session: Session) -> bytes:
        """What a stream begins with."""
        facts = {"visits": session.get("visits", 0), "version": session.version}
        return self._heartbeat() + self._hello() + event("session", facts)

    def add(self, connection: IOStream, session: Session, *, chunked: bool) -> None:
        """Take over a connection on which the header and the greeting have been sent."""
        stream = Stream(
            connection, chunked=chunked, on_close=self._forget, heartbeat=self._heartbeat
        )
        self.open.add(stream)
        self._most_open = max(self._most_open, len(self.open))
        if connection.closed():
            self._forget(stream)
        elif self._draining:
            stream.close(reconnect(len(self.open)))
        else:
            self._notices.watch(session, session.get("visits", 0), stream)

    def most_open(self) -> int:
        """The most streams open at once since the last call."""
        most, self._most_open = self._most_open, len(self.open)
        return most

    def move(self) -> None:
        """Ask the streams that are open now to reconnect, a bounded number a second.

        Call it when nginx has new processes.  What is still open when the old ones end is cut off all
        at once, and a worker that loses thousands of streams at once answers no request meanwhile.
        """
        if self._moving is not None:
            self._moving.cancel()  # those it had not reached are among those that are open now
        if not self._draining:
            self._moving = asyncio.create_task(self._move(list(self.open)))

    async def _move(self, streams: list[Stream]) -> None:
        clock = asyncio.get_running_loop().time
        begin, count = clock(), len(streams)
        per_second = max(STREAMS_A_SECOND, count / MOVED_SECONDS)
        while streams:
            left = max(0.0, count - per_second * (clock() - begin))
            while len(streams) > left:
                stream = streams.pop()  # what has been moved is not kept by being listed here
                if stream in self.open:
                    stream.close(reconnect(1))
            await asyncio.sleep(TICK_SECONDS)

    async def drain(self) -> None:
        """Ask every browser to reconnect, to another worker; later streams too."""
        self._draining = True
        if self._moving is not None:
            self._moving.cancel()
        count = len(self.open)
        async for stream in _in_turns(self.open):
            stream.close(reconnect(count))

    def _heartbeat(self) -> bytes:
        """A comment and no event: keeps proxies from closing the stream, and sets the pause before a reconnect."""
        return b":\n" + retry(len(self.open)) + b"\n"

    def _forget(self, stream: Stream) -> None:
        self.open.discard(stream)
        self._notices.unwatch(stream)

    def _hello(self) -> bytes:
        return event("hello", {**self._worker, "subscribed": self._notices.subscribed_now})

    def _alerted(self, message: bytes) -> None:
        self._send_to_all(_alert(message))

    def _tell_whether_heard(self) -> None:
        """Pages say that changes on other workers arrive late, from the begin of an outage to its end."""
        if self.open:
            self._send_to_all(self._hello())

    def _send_to_all(self, data: bytes) -> None:
        if len(self._pending) == MAX_PENDING:
            self.dropped += 1
        self._pending.append(data)
        self._wake.set()

    async def _deliver(self) -> None:
        """In slices, so that ten thousand streams do not hold up the requests of this worker."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                data = self._pending.popleft()
                async for stream in _in_turns(self.open if data else ()):
                    stream.send(data)


def reconnect(streams: int) -> bytes:
    """The last event of each of so many streams: pages and other clients spread their reconnects."""
    return retry(streams) + event("reconnect", {"within_ms": spread_ms(streams)})


def _alert(message: bytes) -> bytes:
    """As an event; nothing for a message that no worker of ours has sent."""
    try:
        facts = ujson.loads(message)
        return event("alert", {name: str(facts[name]) for name in ("text", "from", "worker")})
    except (ValueError, KeyError, TypeError):
        log.warning("a message that is no alert was published on %s", CHANNEL)
        return b""


async def _in_turns(streams: Iterable[Stream]) -> AsyncIterator[Stream]:
    """Each stream there is now, letting the event loop run in between; some may close meanwhile."""
    for number, stream in enumerate(list(streams), 1):
        yield stream
        if number % STREAMS_A_TURN == 0:
            await asyncio.sleep(0)
