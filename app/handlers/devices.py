"""This user's sessions on every device: see them, and end one, the others or all.

Whoever finds a browser that was left logged in can do none of it: the password is asked for again (ASVS 5.0 7.5.2).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from app.handlers.agents import in_plain_words

from .base import BaseHandler

PASSWORD_WITHIN_SECONDS = 600


class _Listing(BaseHandler):
    session_use = "required"
    password_within_seconds = PASSWORD_WITHIN_SECONDS

    async def devices(self) -> list[dict[str, Any]]:
        """The user's live sessions, the newest login first; times are Unix seconds."""
        return [
            {**asdict(device), "current": device.ref == self.visitor.ref}
            for device in await self.services.sessions.devices(self.visitor.user)
        ]


class DevicesPage(_Listing):
    """GET /devices"""

    async def get(self) -> None:
        devices = await self.devices()
        self.render("devices.html", user=self.visitor.user, devices=devices, browser=in_plain_words)


class DevicesJson(_Listing):
    """GET /api/devices"""

    answers_json = True

    async def get(self) -> None:
        self.answer_json(200, {"devices": await self.devices()})


class _Ending(BaseHandler):
    session_use = "required"
    password_within_seconds = PASSWORD_WITHIN_SECONDS

    def get(self, *ref: str) -> None:
        """A page that is loaded again after a failure: back to the list, and nothing ends."""
        self.redirect("/devices")


class EndDevice(_Ending):
    """POST /devices/<ref>/end: that session is over on every worker when this answers."""

    async def post(self, ref: str) -> None:
        session = self.visitor
        # One that has ended already is no error: it is what the visitor wanted.
        await self.services.sessions.end(session.user, ref)
        if ref == session.ref:
            self.services.cookie.clear(self)
            self.redirect("/login")
        else:
            self.redirect("/devices")


class EndOthers(_Ending):
    """POST /devices/end-others: only this session stays."""

    async def post(self) -> None:
        await self.services.sessions.end_others(self.visitor)
        self.redirect("/devices")


class EndAll(_Ending):
    """POST /devices/end-all: logged out everywhere, here too."""

    async def post(self) -> None:
        await self.services.sessions.end_all(self.visitor.user)
        self.services.cookie.clear(self)
        self.redirect("/login")
