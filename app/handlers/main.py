"""The main page."""

from __future__ import annotations

from .base import BaseHandler


class Main(BaseHandler):
    session_use = "required"

    def get(self) -> None:
        session = self.visitor
        self.render(
            "main.html",
            user=session.user,
            worker=self.services.worker.name,
            visits=session.get("visits", 0),
            version=session.version,
            created=session.created,
            idle_expires_in=session.idle_deadline - session.loaded,
            absolute_expires_in=session.absolute_deadline - session.loaded,
        )
