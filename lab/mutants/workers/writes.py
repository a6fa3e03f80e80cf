"""Broken on purpose: writes that are lost, late, repeated, or kept over a login."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from app.sessions import Session
from app.sessions.identity import log_key
from lab.mutants.workers.client import redis_client
from lab.mutants.workers.replaced import Faults, Sessions, put_in

LATE_SECONDS = 0.05
REMEMBERED_MS = 900


def count_again() -> None:
    """A visit that is sent again counts again."""
    increment = Sessions.increment

    async def broken(
        self: Sessions, session: Session, key: str, by: int = 1, *, operation: str = ""
    ) -> int | None:
        return await increment(self, session, key, by)

    put_in(Sessions, "increment", broken)


def remember_one() -> None:
    """Only the last operation is remembered."""
    increment = Sessions.increment

    async def broken(self: Sessions, session: Session, *given: Any, **more: Any) -> int | None:
        sum_ = await increment(self, session, *given, **more)
        await redis_client().ltrim(log_key(session.tag, session.digest), 0, 1)
        return sum_

    put_in(Sessions, "increment", broken)


def remember_shortly() -> None:
    """Operations are forgotten within a second."""
    increment = Sessions.increment

    async def broken(self: Sessions, session: Session, *given: Any, **more: Any) -> int | None:
        sum_ = await increment(self, session, *given, **more)
        await redis_client().pexpire(log_key(session.tag, session.digest), REMEMBERED_MS)
        return sum_

    put_in(Sessions, "increment", broken)


def share_operations() -> None:
    """An operation of one session is taken for the same one of another."""
    increment = Sessions.increment

    async def broken(
        self: Sessions, session: Session, key: str, by: int = 1, *, operation: str = ""
    ) -> int | None:
        name = f"operation:{operation}"
        if (known := await redis_client().get(name)) is not None:
            return int(known)
        sum_ = await increment(self, session, key, by, operation=operation)
        await redis_client().set(name, sum_ or 0, ex=60)
        return sum_

    put_in(Sessions, "increment", broken)


def lose_some() -> None:
    """One write in a hundred is answered and forgotten."""
    increment, fate = Sessions.increment, random.Random(1)

    async def broken(self: Sessions, session: Session, *given: Any, **more: Any) -> int | None:
        if fate.random() < 0.01:
            return int(session.get("visits", 0)) + 1
        return await increment(self, session, *given, **more)

    put_in(Sessions, "increment", broken)


def write_later() -> None:
    """A write is acknowledged at once and carried out 50 ms later."""
    increment = Sessions.increment
    late: set[asyncio.Task[Any]] = set()

    async def broken(self: Sessions, session: Session, *given: Any, **more: Any) -> int | None:
        async def later() -> None:
            await asyncio.sleep(LATE_SECONDS)
            await increment(self, session, *given, **more)

        task = asyncio.create_task(later())
        late.add(task)
        task.add_done_callback(late.discard)
        return int(session.get("visits", 0)) + 1

    put_in(Sessions, "increment", broken)


def keep_all_at_login() -> None:
    """Who logs in again goes on with the data of the session before."""
    create = Sessions.create

    async def broken(self: Sessions, user: str, *given: Any, **more: Any) -> str:
        return await create(self, user, *given, **{**more, "keep": None})

    put_in(Sessions, "create", broken)


FAULTS: Faults = {
    "repeats count again": count_again,
    "only the last operation is remembered": remember_one,
    "operations are forgotten after a second": remember_shortly,
    "sessions share operations": share_operations,
    "one write in a hundred is lost": lose_some,
    "writes come 50 ms late": write_later,
    "login keeps the old data": keep_all_at_login,
}
