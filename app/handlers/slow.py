"""GET /slow?ms=&kind=&write=<key>: a page that takes its time, for the demo and for tests."""

from __future__ import annotations

import asyncio
import time

from tornado.web import HTTPError

from .api import ApiHandler

MAX_MS = 10_000


class Slow(ApiHandler):
    """`kind` says how the time passes.

    `wait` awaits, as slow I/O done right does; `block` holds the whole worker up, as slow computing does;
    `hang` never ends, as a programming error does.  With `write` the handler then saves the session that it
    read before, across whatever happened meanwhile.
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
        self.answer_json(
            200, {**self.services.worker.shown, "kind": kind, "ms": milliseconds, "saved": saved}
        )

    def _milliseconds(self) -> int:
        text = self.get_query_argument("ms", "0")
        if not (text.isascii() and text.isdigit()) or int(text) > MAX_MS:
            raise HTTPError(400, reason=f"ms is a whole number up to {MAX_MS}")
        return int(text)
