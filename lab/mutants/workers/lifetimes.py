"""Broken on purpose: timeouts that are not moved, moved too often, too early, or not kept."""

from __future__ import annotations

import time
from typing import Any

from app.handlers import api, main
from app.sessions import Session
from app.sessions.identity import digest_of, is_id, session_key, tag_in
from lab.mutants.workers.client import redis_client
from lab.mutants.workers.replaced import Faults, Sessions, put_in

LONG_MS = 600_000


def slide_the_end() -> None:
    """The absolute timeout is told anew with each use."""
    prepare = api.SessionInfo.prepare

    async def broken(self: api.SessionInfo) -> None:
        await prepare(self)
        if self.session is not None:
            facts = list(self.session._facts)
            facts[5] = facts[0] * 1000 + round(
                self.services.sessions.limits.absolute_seconds * 1000
            )
            self.session._facts = facts

    put_in(api.SessionInfo, "prepare", broken)


def touch_nothing() -> None:
    """Use does not move the idle timeout."""
    load = Sessions.load

    def broken(self: Sessions, session_id: str, *, touch: bool = True) -> Any:
        return load(self, session_id, touch=False)

    put_in(Sessions, "load", broken)


def pages_touch_nothing() -> None:
    """Only the API moves the idle timeout."""
    main.Main.touches = False


def end_early() -> None:
    """Half of the idle timeout is enough."""
    load = Sessions.load

    async def broken(self: Sessions, session_id: str, *, touch: bool = True) -> Session | None:
        session = await load(self, session_id, touch=False)
        if session is None:
            return None
        times = session.times
        if times.now - times.touched > self.limits.idle_seconds / 2:
            await self.destroy(session, reason="expired")
            return None
        return await load(self, session_id, touch=touch)

    put_in(Sessions, "load", broken)


def never_end() -> None:
    """Whatever comes after the idle timeout counts as use, too."""
    load, create = Sessions.load, Sessions.create

    async def broken(self: Sessions, session_id: str, *, touch: bool = True) -> Session | None:
        if session_id and is_id(session_id):
            name = session_key(tag_in(session_id), digest_of(session_id))
            if await redis_client().exists(name):
                await redis_client().hset(name, "touched", round(time.time() * 1000))
                await redis_client().pexpire(name, LONG_MS)
        return await load(self, session_id, touch=touch)

    async def for_ever(self: Sessions, user: str, *given: Any, **more: Any) -> str:
        session_id = await create(self, user, *given, **more)
        name = session_key(tag_in(session_id), digest_of(session_id))
        await redis_client().pexpire(name, LONG_MS)
        return session_id

    put_in(Sessions, "load", broken)
    put_in(Sessions, "create", for_ever)


FAULTS: Faults = {
    "use moves the absolute timeout": slide_the_end,
    "use does not move the idle timeout": touch_nothing,
    "pages do not move the idle timeout": pages_touch_nothing,
    "sessions end too early": end_early,
    "sessions never end": never_end,
}
