"""One worker whose handlers differ in one thing each: what `make bench` compares.

`python -m lab.cost.site REDIS_URL VISITORS NEW_VISITORS` prints one line of JSON, the ports and all
visitors' Cookie headers, and serves until it is ended.  Each handler has a port of its own and is the only route
there, as finding a route costs time too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import ujson
import uvloop
from hiredis import pack_command
from redis import Redis
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, create_signed_value

from app.cookie import SessionCookie
from app.sessions import Pipeline, RedisSessions, Session
from app.sessions.wire.calls import Request
from lab.testbed.servers import free_port
from lab.testbed.workers import SECRET

LIFE_SECONDS = 1800
AT_ONCE = 100
_numbers = count()


class Bare(RequestHandler):
    """Answers what all of them answer."""

    def initialize(
        self, sessions: RedisSessions, pipeline: Pipeline, cookie: SessionCookie, redis: Redis
    ) -> None:
        self.sessions, self.pipeline = sessions, pipeline
        self.cookie, self.redis = cookie, redis

    def compute_etag(self) -> None:
        """As in the application."""

    def get(self) -> None:
        self.answer({"user": "ann", "visits": 3})

    def answer(self, body: dict[str, Any]) -> None:
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(ujson.dumps(body))


class CookieOnly(Bare):
    """Also checks the signed cookie."""

    def prepare(self) -> None:
        if self.cookie.read(self) is None:
            self.send_error(401)


class Read(Bare):
    """Also loads the session, and answers from it."""

    session: Session

    async def prepare(self) -> None:
        session_id = self.cookie.read(self)
        session = await self.sessions.load(session_id) if session_id else None
        if session is None:
            self.send_error(401)
        else:
            self.session = session

    def get(self) -> None:
        self.answer({"user": self.session.user, "visits": self.session.get("visits", 0)})


class GuardedSave(Read):
    """Also changes one field and saves it, as the engine does."""

    async def get(self) -> None:  # type: ignore[override]  # Tornado awaits what a handler returns
        self.session["visits"] = next(_numbers)
        assert await self.sessions.save(self.session)
        super().get()


class BlindSave(Read):
    """Also changes one field and writes everything, whatever is there: what a blob store does."""

    async def get(self) -> None:  # type: ignore[override]
        self.session["visits"] = next(_numbers)
        await self.pipeline.send(
            BlindSet(f"blob:{self.session.digest}", ujson.dumps(dict(self.session)))
        )
        super().get()


class BlindSet(Request):
    """SET through the engine's own connection, so that only the command differs."""

    def __init__(self, key: str, text: str) -> None:
        self.command = ("SET", key, text, "EX", LIFE_SECONDS)
        self.packed = pack_command(self.command)  # type: ignore[arg-type]


class Article(Bare):
    """As a well-known article does it: two signed cookies, and GET and SETEX while the worker waits."""

    def prepare(self) -> None:
        session_id, proof = self.get_signed_cookie("session_id"), self.get_signed_cookie("proof")
        text = self.redis.get(b"article:" + session_id) if session_id and proof else None
        if session_id is None or text is None:
            self.send_error(401)
            return
        self.redis.execute_command("SETEX", b"article:" + session_id, LIFE_SECONDS, text)
        self.data = ujson.loads(text)

    def get(self) -> None:
        self.answer({"user": self.data["user"], "visits": self.data["visits"]})


HANDLERS: dict[str, type[Bare]] = {
    "bare": Bare,
    "bare again": Bare,
    "cookie": CookieOnly,
    "read": Read,
    "article": Article,
    "guarded save": GuardedSave,
    "blind save": BlindSave,
}


def data_of(number: int) -> dict[str, Any]:
    """The three keys of a visitor."""
    return {"visits": number, "theme": "dark", "cart": {"items": [1, 2, 3], "note": "gift"}}


async def serve(url: str, visitors: int, new_visitors: int) -> None:
    pipeline = Pipeline(url, timeout_seconds=5)
    sessions, redis = RedisSessions(pipeline), Redis.from_url(url)
    cookie = SessionCookie([SECRET], 43200)
    given = {"sessions": sessions, "pipeline": pipeline, "cookie": cookie, "redis": redis}
    ports = {}
    for name, handler in HANDLERS.items():
        ports[name] = free_port()
        application = Application(
            [("/", handler, given)],
            cookie_secret=SECRET,
            cross_origin_protection=True,
            log_function=lambda handler: None,
        )
        HTTPServer(application, xheaders=True).add_sockets(bind_sockets(ports[name], "127.0.0.1"))
    ours = await _begin(sessions, cookie, visitors + new_visitors)
    articles = [_article_visitor(redis, number) for number in range(visitors)]
    cookies = {"cookies": ours[:visitors], "new": ours[visitors:], "article": articles}
    gc.collect()
    gc.freeze()  # as the application does
    print(json.dumps({"ports": ports, **cookies}), flush=True)
    await asyncio.Event().wait()


async def _begin(sessions: RedisSessions, cookie: SessionCookie, count: int) -> list[str]:
    """The Cookie headers of so many new sessions."""
    found = []
    for start in range(0, count, AT_ONCE):
        numbers = range(start, min(count, start + AT_ONCE))
        creating = (sessions.create(f"visitor-{n}", data_of(n)) for n in numbers)
        for session_id in await asyncio.gather(*creating):
            jar = _Jar()
            cookie.write(cast(RequestHandler, jar), session_id)
            found.append(jar.header)
    return found


class _Jar:
    """Takes a cookie where a handler would send it."""

    request = SimpleNamespace(protocol="http")
    header = ""

    def set_cookie(self, name: str, value: bytes, **flags: Any) -> None:
        self.header = f"{name}={value.decode()}"


def _article_visitor(redis: Redis, number: int) -> str:
    session_id = f"{number:064x}"
    text = ujson.dumps({"user": f"visitor-{number}", **data_of(number)})
    redis.execute_command("SETEX", f"article:{session_id}", LIFE_SECONDS, text)
    values = {"session_id": session_id, "proof": session_id[::-1]}
    return "; ".join(
        f'{name}="{create_signed_value(SECRET, name, value).decode()}"'
        for name, value in values.items()
    )


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
