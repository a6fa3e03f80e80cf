"""What becomes of a session, told as it happens to those who watch it, and words to everybody.

The scripts that change or end a session publish it on a channel named like the session's key, in the
same step.  What pub/sub may lose is made good by looking: when a channel is joined, when the session
should have run out, and once in a while.  Watching never counts as using a session.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from . import identity
from .session import Session
from .wire.calls import Script, ScriptError, StoreUnavailable
from .wire.pipeline import Pipeline
from .wire.subscription import Subscription

SLACK_SECONDS = 0.05  # after a session's end, so that Redis agrees that it is over
EARLIEST_BEAT = 0.5  # of the time between two heartbeats
MOVED_SECONDS = 1.0  # a deadline that changed by less is not worth a word

log = logging.getLogger(__name__)

_SCRIPTS = Path(__file__).parent / "scripts"
_LOOK = Script.read(_SCRIPTS / "look.lua")
_SAY = Script.read(_SCRIPTS / "say.lua")


class Watching(Protocol):
    """Who watches a session.  Each is called in the event loop, must return at once and not raise."""

    watch: Watch | None  # set here: None before it watches and after the session's end

    def changed(self, version: int, value: Any, ends_in: float | None) -> None:
        """The session's data or its idle deadline (seconds from now, if known) is another."""

    def ended(self, reason: str) -> None:
        """It is over.  `reason` is the word given when it was ended, `expired`, or `ended`."""

    def beat(self) -> None:
        """Time has passed: call it a heartbeat."""


class Watch:
    """One session with all who watch it in this process."""

    __slots__ = (
        *("again", "digest", "ends_at", "looking", "tag", "timer", "value", "version", "watching"),
    )

    def __init__(self, tag: str, digest: str) -> None:
        self.tag = tag
        self.digest = digest
        self.version = 0
        self.value: Any = None
        self.ends_at = 0.0  # seconds of the event loop's clock
        self.looking = False
        self.again = False  # something happened while it was being looked at
        self.timer: asyncio.TimerHandle | None = None
        self.watching: list[Watching] = []

    @property
    def channel(self) -> str:
        return identity.session_key(self.tag, self.digest)


class Notices:
    """Make one a process, inside the running event loop, and keep `run` running."""

    def __init__(
        self,
        pipeline: Pipeline,
        subscription: Subscription,
        *,
        field: str,
        heartbeat_seconds: float,
    ) -> None:
        """`field` names the one whole number of a session whose value watchers are told."""
        self._pipeline = pipeline
        self._subscription = subscription
        self._field = f"d:{field}"
        self._heartbeat_seconds = heartbeat_seconds
        self._watches: dict[str, Watch] = {}  # by channel
        self._hearers: dict[str, tuple[Callable[[bytes], None], Callable[[], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Hear until cancelled.  Redis may come and go meanwhile."""
        await self._subscription.run(self)

    @property
    def heard_now(self) -> bool:
        """Whether what others do is heard at once; otherwise it is noticed at the next heartbeat."""
        return self._subscription.hears

    def hear(
        self, channel: str, hearer: Callable[[bytes], None], begins: Callable[[], None]
    ) -> None:
        """Pass each message that `say` sends on `channel`, from any process, to `hearer`.

        `begins` is called when they are heard from now on: at the start, and after each outage.
        """
        self._hearers[channel] = hearer, begins
        self._subscription.join(channel)

    async def say(self, session: Session, channel: str, message: str) -> bool:
        """Send to everybody who hears `channel`; False when `session` has ended.

        Raises StoreUnavailable.  Who is away misses it.
        """
        tag, digest = identity.tag_of(session.user), session.digest
        answer = await self._ask(_SAY, tag, digest, channel, message)
        return bool(answer[0] == b"ok")

    def watch(self, session: Session, value: Any, watcher: Watching) -> None:
        """Tell `watcher` from now on; `value` is what it knows of the field.  End with `leave`."""
        fresh = Watch(identity.tag_of(session.user), session.digest)
        watch = self._watches.setdefault(fresh.channel, fresh)
        watch.watching.append(watcher)
        watcher.watch = watch
        if watch is fresh:
            watch.version, watch.value = session.version, value
            self._subscription.join(watch.channel)
            self._ends_in(watch, session.times.idle_expires_in)

    def leave(self, watcher: Watching) -> None:
        """Stop telling; a watcher that was told of the end has left already."""
        watch, watcher.watch = watcher.watch, None
        if watch is not None:
            watch.watching.remove(watcher)
            if not watch.watching:
                self._forget(watch)

    def watchers(self, session: Session) -> int:
        """How many watch this session here."""
        channel = identity.session_key(identity.tag_of(session.user), session.digest)
        return len(self._watches[channel].watching) if channel in self._watches else 0

    # ---- what Redis says

    def joined(self, channel: str) -> None:
        """What happened before is not heard: look."""
        if watch := self._watches.get(channel):
            self._start_looking(watch)
        elif channel in self._hearers:
            _, begins = self._hearers[channel]
            begins()

    def heard(self, channel: str, message: bytes) -> None:
        if channel in self._hearers:
            hearer, _ = self._hearers[channel]
            hearer(message)
        elif watch := self._watches.get(channel):
            try:
                self._note(watch, *message.decode().split(" ", 3))
            except ValueError:  # not from our scripts
                self._start_looking(watch)

    def _note(self, watch: Watch, what: str, *about: str) -> None:
        """One of the messages that the scripts publish."""
        match what, *about:
            case "ended", reason:
                self._end(watch, reason)
            case "moved", digest:
                self._move(watch, digest)
            case "changed", version, value, field if field == self._field:
                self._show(watch, int(version), int(value))
            case "changed", version, _, _:
                self._show(watch, int(version), watch.value)
            case _:  # the message does not say whether the field was among what changed
                self._start_looking(watch)

    # ---- looking

    def _start_looking(self, watch: Watch) -> None:
        watch.again = watch.looking
        if not watch.looking:
            watch.looking = True
            task = asyncio.create_task(self._look(watch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _look(self, watch: Watch) -> None:
        """See what the session is now.  Redis away proves nothing: the next heartbeat looks again."""
        try:
            answer = await self._ask(_LOOK, watch.tag, watch.digest, self._field)
        except StoreUnavailable:
            return
        finally:
            watch.looking = False
        if not watch.watching:
            return
        if watch.again:  # the answer may be older than what happened
            self._start_looking(watch)
        if answer[0] == b"gone":
            over = asyncio.get_running_loop().time() >= watch.ends_at
            self._end(watch, "expired" if over else "ended")
            return
        if answer[-1] != watch.digest:
            self._move(watch, answer[-1])
            return
        _, left, version, value, _ = answer
        self._ends_in(watch, left / 1000, tell=True)
        self._show(watch, version, _number(value))

    async def _ask(self, script: Script, tag: str, digest: str, *args: str) -> list[Any]:
        """The script's answer for the session where it is now, and the digest of that last."""
        for _ in range(2):  # a pointer leads to a session, never to another pointer
            try:
                key = identity.session_key(tag, digest)
                answer: list[Any] = await self._pipeline.run(script, (key,), args)
            except ScriptError as error:
                raise StoreUnavailable(str(error), may_have_happened=False) from error
            if answer[0] != b"forward":
                return [*answer, digest]
            digest = answer[1].decode()
        return [b"gone", digest]

    # ---- telling

    def _show(self, watch: Watch, version: int, value: Any) -> None:
        """Tell of a newer version; an older message or look that comes late is dropped."""
        if version > watch.version:
            watch.version, watch.value = version, value
            for watcher in list(watch.watching):
                watcher.changed(version, value, None)

    def _ends_in(self, watch: Watch, seconds: float | None, *, tell: bool = False) -> None:
        """Look again when the session should be over, and at the latest after a heartbeat.

        Sooner by chance: thousands who came together, after a restart, would else beat together too.
        """
        loop = asyncio.get_running_loop()
        wait = self._heartbeat_seconds * random.uniform(EARLIEST_BEAT, 1)
        if seconds is not None:
            wait = min(wait, seconds + SLACK_SECONDS)
            moved = abs(loop.time() + seconds - watch.ends_at) > MOVED_SECONDS
            watch.ends_at = loop.time() + seconds
            for watcher in list(watch.watching) if tell and moved else ():
                watcher.changed(watch.version, watch.value, seconds)
        if watch.timer is not None:
            watch.timer.cancel()
        watch.timer = loop.call_later(wait, self._beat, watch) if watch.watching else None

    def _beat(self, watch: Watch) -> None:
        for watcher in list(watch.watching):
            watcher.beat()
        self._ends_in(watch, None)
        if watch.watching:
            self._start_looking(watch)

    def _end(self, watch: Watch, reason: str) -> None:
        watchers, watch.watching = watch.watching, []
        self._forget(watch)
        for watcher in watchers:
            watcher.watch = None
            watcher.ended(reason)

    def _move(self, watch: Watch, digest: str) -> None:
        """The session has a new id: go on under that, with those who watch it there already."""
        self._forget(watch)
        watch.digest = digest
        known = self._watches.setdefault(watch.channel, watch)
        if known is not watch:
            for watcher in watch.watching:
                watcher.watch = known
            known.watching += watch.watching
            watch.watching = []
            return
        self._subscription.join(watch.channel)
        self._ends_in(watch, watch.ends_at - asyncio.get_running_loop().time())

    def _forget(self, watch: Watch) -> None:
        if watch.timer is not None:
            watch.timer.cancel()
            watch.timer = None
        if self._watches.get(watch.channel) is watch:
            del self._watches[watch.channel]
            self._subscription.leave(watch.channel)


def _number(text: bytes | None) -> Any:
    try:
        return int(text or 0)
    except ValueError:
        return None  # somebody put something else there
