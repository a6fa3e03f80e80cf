"""Tells watchers at once when a session changes or ends, and publishes messages to every process.

The scripts that change or end a session publish it on a channel with the name of the session's key, in
the same step.  A message that pub/sub loses is replaced by a check: when a channel is subscribed, when
the session should have expired, and with each heartbeat.  Watching never counts as using a session.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import identity
from .lua import SCRIPTS
from .session import Session
from .wire.calls import StoreUnavailable
from .wire.pipeline import Pipeline
from .wire.subscription import Subscription

SLACK_SECONDS = 0.05  # after a session's end, so that Redis agrees that it is over
EARLIEST_BEAT = 0.5  # of the time between two heartbeats
MOVED_SECONDS = 1.0  # a deadline that changed by less is not worth a message

log = logging.getLogger(__name__)


class Watching(Protocol):
    """A watcher of a session.  Each method is called in the event loop, must return at once and not raise."""

    watch: Watch | None  # set here: None before it watches and after the session has ended

    def changed(self, version: int, value: Any, ends_in: float | None) -> None:
        """The session's data or its idle deadline (seconds from now, if known) has changed."""

    def ended(self, reason: str) -> None:
        """It has ended.  `reason` is the one given when it was ended, `expired`, or `ended`."""

    def beat(self) -> None:
        """A heartbeat: nothing has happened for a while."""


@dataclass(slots=True, eq=False)
class Watch:
    """One session with all its watchers in this process."""

    channel: str  # and the key of the session
    version: int = 0
    value: Any = None
    ends_at: float = 0.0  # seconds of the event loop's clock
    checking: bool = False
    again: bool = False  # something happened during the check
    timer: asyncio.TimerHandle | None = None
    watching: list[Watching] = field(default_factory=list)


class Notices:
    """Create one for each process, inside the running event loop, and keep `run` running."""

    def __init__(
        self,
        pipeline: Pipeline,
        subscription: Subscription,
        *,
        field: str,
        heartbeat_seconds: float,
        prefix: str = "",
    ) -> None:
        """`field` names the one whole number of a session whose value watchers are told.

        `prefix` is that of the sessions; it begins each channel, too.
        """
        self._pipeline = pipeline
        self._subscription = subscription
        subscription.on_loss = self._lost
        self._field = field
        self._prefix = prefix
        self._heartbeat_seconds = heartbeat_seconds
        self._watches: dict[str, Watch] = {}  # by channel
        # By channel: what takes a message, and what is told that an outage has begun or ended.
        self._subscribers: dict[str, tuple[Callable[[bytes], None], Callable[[], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Pass messages on until cancelled, through outages of Redis too."""
        await self._subscription.run(self)

    @property
    def subscribed_now(self) -> bool:
        """Whether changes by other processes arrive at once; otherwise the next heartbeat notices them."""
        return self._subscription.is_active

    def subscribe(
        self, channel: str, receive: Callable[[bytes], None], turned: Callable[[], None]
    ) -> None:
        """Pass each message that `publish` sends on `channel`, from any process, to `receive`.

        `turned` is called whenever messages begin to arrive, at the start and after each outage, and when
        an outage begins; `subscribed_now` tells which.
        """
        self._subscribers[self._prefix + channel] = receive, turned
        self._subscription.subscribe(self._prefix + channel)

    async def publish(self, session: Session, channel: str, message: str) -> bool:
        """Send to every subscriber of `channel`; False when `session` has ended.

        Raises StoreUnavailable.  A subscriber that is away misses it.
        """
        args = (self._prefix + channel, message)
        answer = await self._pipeline.run(SCRIPTS["publish"], (self._key(session),), args)
        return bool(answer[0] == b"ok")

    def watch(self, session: Session, value: Any, watcher: Watching) -> None:
        """Call `watcher` from now on; `value` is what it knows of the field.  End with `unwatch`."""
        fresh = Watch(self._key(session))
        watch = self._watches.setdefault(fresh.channel, fresh)
        watch.watching.append(watcher)
        watcher.watch = watch
        if watch is fresh:
            watch.version, watch.value = session.version, value
            self._subscription.subscribe(watch.channel)
            self._ends_in(watch, session.times.idle_expires_in)

    def unwatch(self, watcher: Watching) -> None:
        """Call it no more; a watcher whose session has ended is removed already."""
        watch, watcher.watch = watcher.watch, None
        if watch is not None:
            watch.watching.remove(watcher)
            if not watch.watching:
                self._forget(watch)

    def watchers(self, session: Session) -> int:
        """How many watchers this session has in this process."""
        watch = self._watches.get(self._key(session))
        return len(watch.watching) if watch else 0

    # ---- called by the subscription

    def subscribed(self, channel: str) -> None:
        """Earlier messages did not arrive, so the session is checked."""
        if watch := self._watches.get(channel):
            self._start_check(watch)
        elif channel in self._subscribers:
            _, turned = self._subscribers[channel]
            turned()

    def received(self, channel: str, message: bytes) -> None:
        if channel in self._subscribers:
            receive, _ = self._subscribers[channel]
            receive(message)
        elif watch := self._watches.get(channel):
            try:
                self._note(watch, *message.decode().split(" ", 3))
            except ValueError:  # not from our scripts
                self._start_check(watch)

    def _lost(self) -> None:
        for _, turned in self._subscribers.values():
            turned()

    def _note(self, watch: Watch, what: str, *about: str) -> None:
        """One of the messages that the scripts publish."""
        match what, *about:
            case "ended", reason:
                self._end(watch, reason)
            case "changed", version, value, field if field == self._field:
                self._show(watch, int(version), int(value))
            case "changed", version, _, _:
                self._show(watch, int(version), watch.value)
            case _:  # the message does not say whether the field was among what changed
                self._start_check(watch)

    # ---- checks

    def _start_check(self, watch: Watch) -> None:
        watch.again = watch.checking
        if not watch.checking:
            watch.checking = True
            task = asyncio.create_task(self._check(watch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _check(self, watch: Watch) -> None:
        """Read what the session is now.  During an outage of Redis the next heartbeat tries again."""
        try:
            answer = await self._pipeline.run(SCRIPTS["look"], (watch.channel,), (self._field,))
        except StoreUnavailable:
            return
        finally:
            watch.checking = False
        if not watch.watching:
            return
        if watch.again:  # the answer may be older than what happened
            self._start_check(watch)
        if answer[0] == b"gone":
            over = asyncio.get_running_loop().time() >= watch.ends_at
            self._end(watch, "expired" if over else "ended")
            return
        _, left, version, value = answer
        self._ends_in(watch, left / 1000, tell=True)
        self._show(watch, version, _number(value))

    def _key(self, session: Session) -> str:
        return identity.session_key(session.tag, session.digest, self._prefix)

    # ---- calls to watchers

    def _show(self, watch: Watch, version: int, value: Any) -> None:
        """Report a newer version; an older message or check that arrives late is dropped."""
        if version > watch.version:
            watch.version, watch.value = version, value
            for watcher in list(watch.watching):
                watcher.changed(version, value, None)

    def _ends_in(self, watch: Watch, seconds: float | None, *, tell: bool = False) -> None:
        """Check again when the session should have expired, and at the latest with the next heartbeat.

        The time is random: thousands of streams that opened together would otherwise beat together.
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
            self._start_check(watch)

    def _end(self, watch: Watch, reason: str) -> None:
        watchers, watch.watching = watch.watching, []
        self._forget(watch)
        for watcher in watchers:
            watcher.watch = None
            watcher.ended(reason)

    def _forget(self, watch: Watch) -> None:
        if watch.timer is not None:
            watch.timer.cancel()
            watch.timer = None
        if self._watches.get(watch.channel) is watch:
            del self._watches[watch.channel]
            self._subscription.unsubscribe(watch.channel)


def _number(text: bytes | None) -> Any:
    try:
        return int(text or 0)
    except ValueError:
        return None  # somebody put something else there
