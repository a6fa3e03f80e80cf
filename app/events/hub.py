"""The open event streams of this worker, and the alerts that go to all of them on every worker."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable

import ujson
from tornado.iostream import IOStream

from app.events.jitter import STREAMS_A_SECOND, retry, spread_ms
from app.events.stream import Stream, event
from app.memory import Crowd
from app.sessions import Notices, Session

CHANNEL = "alerts"
MAX_TEXT_CHARACTERS = 500
MAX_STREAMS_PER_SESSION = 20  # on one worker: a browser opens one a page
MAX_WAITING = 100  # alerts not yet passed on; beyond that the oldest are dropped
STREAMS_A_TURN = 200  # told before the event loop may answer a request again
MOVED_SECONDS = 50  # before worker_shutdown_timeout in nginx/nginx.conf cuts off what is left
TICK_SECONDS = 0.1
BURST, PER_SECOND = 50, 10.0  # alerts this worker takes: each is written to every stream

# What the login page says to a browser whose stream heard the reason.  It shows no other text: the reason
# comes back in the address, which anybody could have written.
WHY_ENDED = {
    "logout": "You are logged out: this session was ended in another tab or window.",
    "device": "This session was ended from another of your devices.",
    "administrator": "An administrator has ended this session.",
    "login": "Somebody has logged in anew in this browser, so the session before has ended.",
    "limit": "You have logged in on too many devices at once, so the oldest session has ended.",
    "expired": "This session was over: it had not been used for a while, or had reached its longest time.",
    "unreadable": "This session could not be read any more and was ended.",
    "ended": "This session has ended.",
}

log = logging.getLogger("app")


class Alerts:
    """Make one a worker, and keep `run` running."""

    def __init__(self, notices: Notices, worker: dict[str, str]) -> None:
        """`worker` is what each stream is told first."""
        self.open: set[Stream] = set()
        self.crowd = Crowd()
        self.dropped = 0  # alerts that came faster than the streams could be told
        self._notices = notices
        self._worker = worker
        self._draining = False
        self._moving: asyncio.Task[None] | None = None
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()
        self._allowance = Allowance(BURST, PER_SECOND)
        notices.hear(CHANNEL, self._heard, self._hears_again)

    async def run(self) -> None:
        """Hear and pass on until cancelled."""
        async with asyncio.TaskGroup() as together:
            together.create_task(self._notices.run())
            together.create_task(self._pass_on())

    async def say(self, session: Session, text: str) -> bool | None:
        """Send an alert to every stream of every worker.

        False when `session` has ended; None when there have been too many.  Raises StoreUnavailable.
        """
        if not self._allowance.take():
            return None
        alert = {"text": text, "from": session.user, "worker": self._worker["worker"]}
        return await self._notices.say(session, CHANNEL, ujson.dumps(alert, allow_nan=False))

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
        self.crowd.is_now(len(self.open))
        if connection.closed():
            self._forget(stream)
        elif self._draining:
            stream.close(reconnect(len(self.open)))
        else:
            self._notices.watch(session, session.get("visits", 0), stream)

    def move(self) -> None:
        """Ask the streams there are now, by and by, to come again: nginx's new processes have taken over.

        What is still open when the old ones leave they cut off at one blow, and a worker that loses
        thousands of streams at once answers nobody else meanwhile.  These are away for seconds only.
        """
        if self._moving is not None:
            self._moving.cancel()  # those it had not come to are among those there are now
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
        """Send every browser to another worker; streams that are still asked for too."""
        self._draining = True
        if self._moving is not None:
            self._moving.cancel()
        count = len(self.open)
        async for stream in _in_turns(self.open):
            stream.close(reconnect(count))

    def shrink(self) -> None:
        """Keep no room for streams that have gone."""
        self.open = set(self.open)
        self._notices.shrink()

    def _heartbeat(self) -> bytes:
        """A comment and no event: keeps proxies patient, and says when to come back after a loss."""
        return b":\n" + retry(len(self.open)) + b"\n"

    def _forget(self, stream: Stream) -> None:
        self.open.discard(stream)
        self.crowd.is_now(len(self.open))
        self._notices.leave(stream)

    def _hello(self) -> bytes:
        return event("hello", {**self._worker, "heard_now": self._notices.heard_now})

    def _heard(self, message: bytes) -> None:
        self._tell_all(_alert(message))

    def _hears_again(self) -> None:
        """A stream that began while others were not heard has told its page so."""
        if self.open:
            self._tell_all(self._hello())

    def _tell_all(self, words: bytes) -> None:
        if len(self._waiting) == MAX_WAITING:
            self.dropped += 1
        self._waiting.append(words)
        self._wake.set()

    async def _pass_on(self) -> None:
        """In slices, so that ten thousand streams do not hold up the requests of this worker."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._tell(self._waiting.popleft())

    async def _tell(self, words: bytes) -> None:
        async for stream in _in_turns(self.open if words else ()):
            stream.send(words)


class Allowance:
    """A bucket of `burst` tokens that fills again at `per_second`."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._left = self._burst
        self._at = 0.0

    def take(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def reconnect(streams: int) -> bytes:
    """The last word to each of so many streams: pages and other clients alike spread their return."""
    return retry(streams) + event("reconnect", {"within_ms": spread_ms(streams)})


def _alert(message: bytes) -> bytes:
    """As an event; nothing for what no worker of ours has sent."""
    try:
        facts = ujson.loads(message)
        return event("alert", {name: str(facts[name]) for name in ("text", "from", "worker")})
    except (ValueError, KeyError, TypeError):
        log.warning("something that is no alert was published on %s", CHANNEL)
        return b""


async def _in_turns(streams: Iterable[Stream]) -> AsyncIterator[Stream]:
    """Each stream there is now, letting the event loop run in between; some may close meanwhile."""
    for number, stream in enumerate(list(streams), 1):
        yield stream
        if number % STREAMS_A_TURN == 0:
            await asyncio.sleep(0)
