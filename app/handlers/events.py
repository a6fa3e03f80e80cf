"""GET /events: changes of the visitor's session, and alerts, as they happen."""

from __future__ import annotations

from app.events.hub import MAX_STREAMS_PER_SESSION

from .base import BaseHandler

STREAM = "text/event-stream; charset=UTF-8"


class Events(BaseHandler):
    """A stream of server-sent events; see docs/events.md for each.

    Opening one does not count as using the session: a page does it by itself, again and again.
    """

    session_use = "required"
    touches = False
    answers_json = True  # what is no stream: 401, 429 and 503

    async def get(self) -> None:
        session, hub = self.visitor, self.services.hub
        if hub.full(session):
            error = f"this session has {MAX_STREAMS_PER_SESSION} streams open on this worker"
            self.answer_json(429, {"error": error})
            return
        self.set_header("Content-Type", STREAM)
        self.set_header("X-Accel-Buffering", "no")  # for an nginx that is not configured as ours is
        self.set_header("Connection", "close")  # after a stream nginx must not use it for a request
        self.write(hub.greeting(session))
        await self.flush()
        connection = self.detach()
        self.on_finish()  # for Tornado this request is over, and a drain must not wait for it
        hub.add(connection, session, chunked=self.request.version == "HTTP/1.1")

    async def head(self, *_: str) -> None:
        """200 or 401: whether a stream would be given.  EventSource tells a page no status."""
        self.set_header("Content-Type", STREAM)
