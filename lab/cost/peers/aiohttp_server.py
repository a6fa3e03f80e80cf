"""aiohttp with aiohttp-session: `python aiohttp_server.py PORT REDIS_URL`."""

from __future__ import annotations

import os
import sys

import uvloop
from aiohttp import web
from aiohttp_session import get_session, new_session, setup
from aiohttp_session.redis_storage import RedisStorage
from redis.asyncio import Redis

IDLE_SECONDS = 1800


async def log_in(request: web.Request) -> web.Response:
    """Begin a session of three keys and a user."""
    session = await new_session(request)
    session.update(await request.json())
    return web.json_response({"pid": os.getpid()})


async def read(request: web.Request) -> web.Response:
    """Answer from the session, whose idle lifetime starts again."""
    session = await get_session(request)
    if session.new:
        return web.Response(status=401)
    session.changed()  # this library extends a lifetime by writing
    return web.json_response({"user": session["user"], "visits": session["visits"]})


def main(port: int, redis_url: str) -> None:
    app = web.Application()
    setup(app, RedisStorage(Redis.from_url(redis_url), cookie_name="sid", max_age=IDLE_SECONDS))
    app.router.add_post("/login", log_in)
    app.router.add_get("/", read)
    loop = uvloop.new_event_loop()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=loop)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
