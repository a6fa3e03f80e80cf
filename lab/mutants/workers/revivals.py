"""Broken on purpose: what has ended or was deleted comes back later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from app.handlers import api
from app.sessions import Session
from app.sessions.identity import session_key
from lab.mutants.workers.client import redis_client
from lab.mutants.workers.replaced import Faults, Sessions, key_of, put_in

LATER_SECONDS = 1.0
tasks: set[asyncio.Task[Any]] = set()  # asyncio itself would forget them


def later(work: Any) -> None:
    """Run it after a while, whatever becomes of the request."""

    async def wait() -> None:
        await asyncio.sleep(LATER_SECONDS)
        await work()

    task = asyncio.create_task(wait())
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def put_aside(why: str, after: Callable[[str, str], Any]) -> None:
    """Keep a copy of each session that ends for this reason, and tell `after` of its user and key.

    One reason alone: what comes back after a logout breaks another promise than what comes back on a device.
    """
    end = Sessions._end

    async def broken(
        self: Sessions, tag: str, user: str, digests: Sequence[str], reason: str, *more: Any
    ) -> Any:
        keys = [session_key(tag, digest) for digest in digests if reason == why]
        for key in keys:
            await redis_client().copy(key, f"aside:{key}")
            await redis_client().pexpire(f"aside:{key}", 60_000)
        ended = await end(self, tag, user, digests, reason, *more)
        for key in keys:
            await after(user, key)
        return ended

    put_in(Sessions, "_end", broken)


def bring_back_later(why: str) -> None:
    """A replica that was behind takes over: what had ended a second ago is there again."""

    async def after(user: str, key: str) -> None:
        later(lambda: redis_client().copy(f"aside:{key}", key))

    put_aside(why, after)


def bring_back_at_login() -> None:
    """A login finds what a logout had put aside, and takes it up again."""
    create = Sessions.create

    async def after(user: str, key: str) -> None:
        await redis_client().set(f"aside of {user}", key, ex=60)

    async def take_up(self: Sessions, user: str, *given: Any, **more: Any) -> str:
        session_id = await create(self, user, *given, **more)
        if key := await redis_client().execute_command("GET", f"aside of {user}"):
            await redis_client().copy(f"aside:{key.decode()}", key.decode())
        return session_id

    put_aside("logout", after)
    put_in(Sessions, "create", take_up)


def restore_fields(when: Callable[[Callable[[], Any], Session], None]) -> None:
    """What a DELETE took out is put back `when` that says."""
    delete = api.Data.delete

    async def broken(self: api.Data, key: str) -> None:
        name, field = key_of(self.visitor), f"d:{key}"
        text = await redis_client().execute_command("HGET", name, field)

        async def put_back() -> None:
            if text is not None and await redis_client().exists(name):
                await redis_client().hset(name, field, text)

        await delete(self, key)
        when(put_back, self.visitor)

    put_in(api.Data, "delete", broken)


def restore_later() -> None:
    """A field comes back a second after it was deleted."""
    restore_fields(lambda put_back, session: later(put_back))


def restore_at_visit() -> None:
    """A field comes back with the next visit that this worker counts."""
    deleted: dict[str, Callable[[], Any]] = {}
    restore_fields(lambda put_back, session: deleted.update({session.digest: put_back}))
    increment = Sessions.increment

    async def broken(self: Sessions, session: Session, *given: Any, **more: Any) -> int | None:
        if put_back := deleted.pop(session.digest, None):
            await put_back()
        return await increment(self, session, *given, **more)

    put_in(Sessions, "increment", broken)


FAULTS: Faults = {
    "logouts are undone after a second": partial(bring_back_later, "logout"),
    "ended devices come back after a second": partial(bring_back_later, "device"),
    "login brings the old session back": bring_back_at_login,
    "deleted fields come back after a second": restore_later,
    "deleted fields come back with a visit": restore_at_visit,
}
