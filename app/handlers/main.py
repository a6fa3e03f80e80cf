"""The main page, and the one that explains what the pages show."""

from __future__ import annotations

from .base import BaseHandler


class Main(BaseHandler):
    session_use = "required"

    def get(self) -> None:
        session, times = self.visitor, self.visitor.times
        self.render(
            "main.html",
            user=session.user,
            worker=self.services.worker.shown["worker"],
            visits=session.get("visits", 0),
            version=session.version,
            created=times.created,
            age=times.now - times.created,
            idle_expires_in=times.idle_expires_in,
            absolute_expires_in=times.absolute_expires_in,
            slow=self.services.settings.demo_endpoints,
        )


class Help(BaseHandler):
    """GET /help: the same for everybody, and there while Redis is away; each page links to its own part."""

    def get(self) -> None:
        self.render("help.html")
