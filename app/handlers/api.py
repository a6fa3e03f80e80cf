"""The JSON interface to one's own session: what the page's script and the load test speak."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from app.sessions import NotAnInteger, NotPlainJson, Session

from .base import BaseHandler

MAX_OPERATION_CHARACTERS = 128


class ApiHandler(BaseHandler):
    session_use = "required"
    answers_json = True

    def read_json(self) -> Any:
        """The request's body.  Raises NotPlainJson (400) for what strict JSON (RFC 8259) is not.

        The standard library's reader, as ujson takes `01`, `1.` and raw control characters.
        """
        try:
            return json.loads(self.request.body.decode(), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise NotPlainJson(f"the body is not JSON: {error}") from error

    def answer_ended(self) -> None:
        """The session ended while this request ran: nothing was written, and it will not come back."""
        self.answer_json(401, {"error": "this session has ended"})


class SessionInfo(ApiHandler):
    """GET /api/session"""

    def get(self) -> None:
        session, times = self.visitor, self.visitor.times
        self.answer_json(
            200,
            {
                "user": session.user,
                "visits": session.get("visits", 0),
                "version": session.version,
                **self.services.worker.shown,
                "created": times.created,
                "idle_expires_in": round(times.idle_expires_in, 3),
                "absolute_expires_in": round(times.absolute_expires_in, 3),
            },
        )


class Visits(ApiHandler):
    """POST /api/visits"""

    async def post(self) -> None:
        body = self.read_json()
        operation = body.get("op") if isinstance(body, dict) else None
        if not isinstance(operation, str) or not 0 < len(operation) <= MAX_OPERATION_CHARACTERS:
            raise NotPlainJson(
                f'the body is {{"op": "<an id of yours, 1 to {MAX_OPERATION_CHARACTERS} characters>"}}: '
                "a repeated request with the same id is counted once"
            )
        visits = await self.services.sessions.increment(self.visitor, "visits", operation=operation)
        if visits is None:
            self.answer_ended()
        else:
            self.answer_json(200, {"visits": visits, **self.services.worker.shown})


class Data(ApiHandler):
    """GET, PUT and DELETE /api/data/<key>: one field; parallel writers of other fields keep theirs.

    Any field but those of the engine: a visitor may choose what they hold.  What he must not choose, such as a role,
    is looked up by the name of the user instead.
    """

    def get(self, key: str) -> None:
        answer_field(self, key)

    async def put(self, key: str) -> None:
        self.visitor[key] = self.read_json()
        if await self.services.sessions.save(self.visitor):
            answer_field(self, key)
        else:
            self.answer_ended()

    async def delete(self, key: str) -> None:
        self.visitor.pop(key, None)
        if await self.services.sessions.save(self.visitor):
            self.set_status(204)
        else:
            self.answer_ended()


class DataAdd(ApiHandler):
    """POST /api/data/<key>/add: read-modify-write by compare-and-set; 409 when others always won."""

    async def post(self, key: str) -> None:
        body = self.read_json()
        by = body.get("by", 1) if isinstance(body, dict) else None
        if type(by) is not int and type(by) is not float:
            raise NotPlainJson('the body is {"by": <number>}')

        def add(session: Session) -> None:
            value = session.get(key, 0)
            if type(value) is not int and type(value) is not float:
                raise NotAnInteger(f"{key} holds no number")
            try:
                session[key] = value + by
            except OverflowError as error:
                raise NotPlainJson("this number is too large") from error

        if await self.services.sessions.update(self.visitor, add):
            answer_field(self, key)
        else:
            self.answer_ended()


def answer_field(handler: ApiHandler, key: str) -> None:
    session = handler.visitor
    if key not in session:
        handler.answer_json(404, {"error": f"this session has no {key!r}"})
    else:
        handler.answer_json(200, {"key": key, "value": session[key], "version": session.version})


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
