"""POST /api/alerts: a line of text to every open event stream, on every worker."""

from __future__ import annotations

from app.events.hub import MAX_TEXT_CHARACTERS
from app.sessions import NotPlainJson

from .api import ApiHandler


class Alert(ApiHandler):
    async def post(self) -> None:
        body = self.read_json()
        text = body.get("text") if isinstance(body, dict) else None
        if not isinstance(text, str) or not 0 < len(text.strip()) <= MAX_TEXT_CHARACTERS:
            raise NotPlainJson(f'the body is {{"text": "<1 to {MAX_TEXT_CHARACTERS} characters>"}}')
        sent = await self.services.hub.publish(self.visitor, plain(text))
        if sent is None:
            self.set_header("Retry-After", "1")
            self.answer_json(429, {"error": "too many alerts at this moment"})
        elif sent:
            self.answer_json(202, {"sent": True, **self.services.worker.shown})
        else:
            self.answer_ended()


def plain(text: str) -> str:
    """`text` as one line that every encoder can write: a browser may send half a surrogate pair."""
    return " ".join(text.encode(errors="replace").decode().split())
