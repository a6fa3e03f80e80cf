"""The JSON interface to one's own session: what the page's script and the load test speak."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, NoReturn

from tornado.web import HTTPError

from app.events.hub import MAX_TEXT_CHARACTERS
from app.sessions import NotAnInteger, NotPlainJson, Session

from .base import BaseHandler

MAX_OPERATION_CHARACTERS = 128
MAX_SLOW_MS = 10_000


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

    @property
    def whoami(self) -> dict[str, str]:
        return {"worker": self.services.worker.name, "boot": self.services.worker.boot}


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
                **self.whoami,
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
            self.answer_json(200, {"visits": visits, **self.whoami})


class Data(ApiHandler):
    """GET, PUT and DELETE /api/data/<key>: one field; parallel writers of other fields keep theirs."""

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
            session[key] = value + by

        if await self.services.sessions.update(self.visitor, add):
            answer_field(self, key)
        else:
            self.answer_ended()


class Alert(ApiHandler):
    """POST /api/alerts: a line of text to every open stream on every worker."""

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
            self.answer_json(202, {"sent": True, **self.whoami})
        else:
            self.answer_ended()


class Slow(ApiHandler):
    """GET /slow?ms=&kind=wait|block|hang&write=<key>, demo only: a page that takes its time.

    `wait` awaits, as slow I/O done right does; `block` holds the whole worker up, as slow computing
    does; `hang` never ends, as a programming error does.  With `write` it then saves the session it read before, across whatever happened meanwhile.
    """

    async def get(self) -> None:
        milliseconds, kind = self._milliseconds(), self.get_query_argument("kind", "wait")
        key = self.get_query_argument("write", None)
        if kind == "wait":
            await asyncio.sleep(milliseconds / 1000)
        elif kind == "block":
            time.sleep(milliseconds / 1000)  # noqa: ASYNC251 - blocking is what it shows
        elif kind == "hang":
            while True:  # until the watchdog has the worker replaced
                pass
        else:
            raise HTTPError(400, reason="kind is wait, block or hang")
        saved = None
        if key is not None:
            self.visitor[key] = {"by": self.request_id}
            saved = await self.services.sessions.save(self.visitor)
        self.answer_json(200, {**self.whoami, "kind": kind, "ms": milliseconds, "saved": saved})

    def _milliseconds(self) -> int:
        text = self.get_query_argument("ms", "0")
        if not (text.isascii() and text.isdigit()) or int(text) > MAX_SLOW_MS:
            raise HTTPError(400, reason=f"ms is a whole number up to {MAX_SLOW_MS}")
        return int(text)


def plain(text: str) -> str:
    """`text` as one line that every encoder can write: a browser may send half a surrogate pair."""
    return " ".join(text.encode(errors="replace").decode().split())


def answer_field(handler: ApiHandler, key: str) -> None:
    session = handler.visitor
    if key not in session:
        handler.answer_json(404, {"error": f"this session has no {key!r}"})
    else:
        handler.answer_json(200, {"key": key, "value": session[key], "version": session.version})


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
