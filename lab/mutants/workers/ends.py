"""Broken on purpose: ends that end too few, too many or the wrong sessions, and lists that say so."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tornado.web import RequestHandler

from app.cookie import SessionCookie
from app.handlers import base, devices, login
from app.sessions import Session
from lab.mutants.workers.client import redis_client
from lab.mutants.workers.replaced import Faults, Sessions, put_in

CACHE_SECONDS = 2.0


def leave_one() -> None:
    """`end others` ends all others but the newest."""

    async def broken(self: Sessions, session: Session) -> int:
        others = [one.ref for one in await self.devices(session.user) if one.ref != session.ref]
        return sum([await self.end(session.user, ref) for ref in others[1:]])

    put_in(Sessions, "end_others", broken)


def end_own_too() -> None:
    """`end others` ends the session that asks, too."""

    async def broken(self: Sessions, session: Session) -> int:
        return await self.end_all(session.user)

    put_in(Sessions, "end_others", broken)


def end_all_by_name() -> None:
    """Who ends one device ends all others, too."""
    end = Sessions.end

    async def broken(self: Sessions, user: str, ref: str, *, reason: str = "device") -> bool:
        for device in (await self.devices(user))[:-1]:
            await end(self, user, device.ref, reason=reason)
        return await end(self, user, ref, reason=reason)

    put_in(Sessions, "end", broken)


def end_anybody() -> None:
    """A name of a session is looked for among those of all users."""

    async def broken(self: Sessions, user: str, ref: str, *, reason: str = "device") -> bool:
        names = await redis_client().execute_command("KEYS", f"session:*:{ref}*")
        return bool(names and await redis_client().unlink(*names))

    put_in(Sessions, "end", broken)


def end_all_at_logout() -> None:
    """Who logs out on one device is out on all."""

    async def broken(self: Sessions, session: Session, *, reason: str = "logout") -> bool:
        return await self.end_all(session.user, reason=reason) > 0

    put_in(Sessions, "destroy", broken)


def end_others_at_login() -> None:
    """A user has one session."""
    create = Sessions.create

    async def broken(self: Sessions, user: str, *given: Any, **more: Any) -> str:
        await self.end_all(user)
        return await create(self, user, *given, **more)

    put_in(Sessions, "create", broken)


def end_nothing() -> None:
    """A logout takes the cookie away, and leaves the session."""

    async def broken(self: Sessions, session: Session, *, reason: str = "logout") -> bool:
        return True

    put_in(Sessions, "destroy", broken)


def forget_a_device() -> None:
    """A list that ends one too early."""
    listed = Sessions.devices

    async def broken(self: Sessions, user: str) -> Any:
        found = await listed(self, user)
        return found[:-1] if len(found) > 1 else found

    put_in(Sessions, "devices", broken)


def list_the_ended() -> None:
    """A list that each worker only ever adds to."""
    listed, known = Sessions.devices, dict[str, dict[str, Any]]()

    async def broken(self: Sessions, user: str) -> Any:
        mine = known.setdefault(user, {})
        mine |= {device.ref: device for device in await listed(self, user)}
        return list(mine.values())

    put_in(Sessions, "devices", broken)


def mark_another() -> None:
    """The newest one is taken for the current one."""
    listed = devices._Listing.devices

    async def broken(self: devices._Listing) -> list[dict[str, Any]]:
        found = await listed(self)
        return [{**each, "current": each is found[0]} for each in found]

    put_in(devices._Listing, "devices", broken)


def swap_agents() -> None:
    """Each device is listed with the browser of the next one."""
    listed = Sessions.devices

    async def broken(self: Sessions, user: str) -> Any:
        found = await listed(self, user)
        agents = [device.agent for device in found]
        turned = agents[1:] + agents[:1]
        return [replace(one, agent=agent) for one, agent in zip(found, turned, strict=True)]

    put_in(Sessions, "devices", broken)


def keep_lists() -> None:
    """Each worker keeps the page of devices for two seconds; the list beside it in JSON is newer."""
    kept: dict[str, tuple[float, Any]] = {}
    listed = devices.DevicesPage.devices

    async def broken(self: devices.DevicesPage) -> list[dict[str, Any]]:
        at, found = kept.get(self.visitor.digest, (0.0, None))
        if time.monotonic() - at > CACHE_SECONDS:
            found = await listed(self)
            kept[self.visitor.digest] = time.monotonic(), found
        return found or []

    put_in(devices.DevicesPage, "devices", broken)


def leave_the_cookie(handler: type[base.BaseHandler]) -> Callable[[], None]:
    """The session is over, and its cookie stays in the browser."""

    def broken() -> None:
        clear = SessionCookie.clear

        def not_here(self: SessionCookie, request: RequestHandler) -> None:
            if not isinstance(request, handler):
                clear(self, request)

        put_in(SessionCookie, "clear", not_here)

    return broken


def clear_at_a_miss() -> None:
    """Whoever is not known loses his cookie: a late answer undoes a fresh login."""
    answer = base.BaseHandler.answer_anonymous

    def broken(self: base.BaseHandler) -> None:
        self.services.cookie.clear(self)
        answer(self)

    put_in(base.BaseHandler, "answer_anonymous", broken)


FAULTS: Faults = {
    "end others leaves one": leave_one,
    "end others ends the own one": end_own_too,
    "end of one ends others": end_all_by_name,
    "anybody's session can be ended": end_anybody,
    "logout ends all": end_all_at_logout,
    "a login ends the others": end_others_at_login,
    "logout leaves the session": end_nothing,
    "a list forgets a device": forget_a_device,
    "a list shows the ended": list_the_ended,
    "a list marks another one": mark_another,
    "a list swaps browsers": swap_agents,
    "the page of devices is kept": keep_lists,
    "logout leaves the cookie": leave_the_cookie(login.Logout),
    "end of this one leaves the cookie": leave_the_cookie(devices.EndDevice),
    "end all leaves the cookie": leave_the_cookie(devices.EndAll),
    "a miss clears the cookie": clear_at_a_miss,
}
