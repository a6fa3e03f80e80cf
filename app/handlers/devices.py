"""This user's sessions on every device: see them, and end one, the others or all."""

from __future__ import annotations

from typing import Any

from .base import BaseHandler


class _Listing(BaseHandler):
    session_use = "required"

    async def devices(self) -> list[dict[str, Any]]:
        """The user's live sessions, the newest login first; times are Unix seconds."""
        return [
            {
                "ref": device.ref,
                "created": device.created,
                "last_seen": device.last_seen,
                "agent": device.agent,
                "address": device.address,
                "current": device.ref == self.visitor.ref,
            }
            for device in await self.services.sessions.devices(self.visitor.user)
        ]


class DevicesPage(_Listing):
    """GET /devices"""

    async def get(self) -> None:
        self.render("devices.html", user=self.visitor.user, devices=await self.devices())


class DevicesJson(_Listing):
    """GET /api/devices"""

    answers_json = True

    async def get(self) -> None:
        self.answer_json(200, {"devices": await self.devices()})


class EndDevice(BaseHandler):
    """POST /devices/<ref>/end: that session is over on every worker when this answers."""

    session_use = "required"

    async def post(self, ref: str) -> None:
        session = self.visitor
        # One that has ended already is no error: it is what the visitor wanted.
        await self.services.sessions.end(session.user, ref)
        if ref == session.ref:
            self.services.cookie.clear(self)
            self.redirect("/login")
        else:
            self.redirect("/devices")


class EndOthers(BaseHandler):
    """POST /devices/end-others: only this session stays."""

    session_use = "required"

    async def post(self) -> None:
        await self.services.sessions.end_others(self.visitor)
        self.redirect("/devices")


class EndAll(BaseHandler):
    """POST /devices/end-all: logged out everywhere, here too."""

    session_use = "required"

    async def post(self) -> None:
        await self.services.sessions.end_all(self.visitor.user)
        self.services.cookie.clear(self)
        self.redirect("/login")
