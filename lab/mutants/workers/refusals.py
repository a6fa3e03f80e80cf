"""Broken on purpose: a way in for somebody who has no session."""

from __future__ import annotations

import base64
from typing import Any

from tornado.web import RequestHandler

from app.accounts import Accounts
from app.cookie import SessionCookie
from app.handlers import base
from app.sessions import is_id
from lab.mutants.workers.replaced import Faults, put_in


def take_any_password() -> None:
    """Who has a name is let in."""

    async def broken(self: Accounts, name: str, password: str) -> bool:
        return True

    put_in(Accounts, "verify", broken)


def take_similar_passwords() -> None:
    """Capitals do not matter."""
    verify = Accounts.verify

    async def broken(self: Accounts, name: str, password: str) -> bool:
        return await verify(self, name, password.lower())

    put_in(Accounts, "verify", broken)


def believe_unsigned_ids() -> None:
    """The signature is not looked at: the id inside is enough."""
    ids = SessionCookie.ids

    def broken(self: SessionCookie, handler: RequestHandler, *given: Any) -> list[str]:
        found = ids(self, handler, *given)
        for part in handler.request.headers.get("Cookie", "").replace("=", "|").split("|"):
            inside = part.rpartition(":")[2].strip('"')
            found += [text for text in (inside, _decoded(inside)) if is_id(text)]
        return found

    put_in(SessionCookie, "ids", broken)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except ValueError:
        return ""


def serve_guests() -> None:
    """Who has no cookie is answered as a guest."""
    answer = base.BaseHandler.answer_anonymous

    def broken(self: base.BaseHandler) -> None:
        if self.answers_json and not self.request.headers.get("Cookie"):
            self.answer_json(200, {"user": "guest", "visits": 0})
        else:
            answer(self)

    put_in(base.BaseHandler, "answer_anonymous", broken)


FAULTS: Faults = {
    "any password": take_any_password,
    "similar passwords": take_similar_passwords,
    "ids need no signature": believe_unsigned_ids,
    "guests are served": serve_guests,
}
