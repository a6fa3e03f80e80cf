"""Starlette with starsessions under uvicorn: `python starsessions_server.py PORT REDIS_URL`."""

from __future__ import annotations

import os
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.stores.redis import RedisStore

IDLE_SECONDS = 1800


async def log_in(request: Request) -> Response:
    """Begin a session of three keys and a user."""
    request.session.update(await request.json())
    return JSONResponse({"pid": os.getpid()})


async def read(request: Request) -> Response:
    """Answer from the session, whose idle lifetime starts again (`rolling`)."""
    session = request.session
    if "user" not in session:
        return Response(status_code=401)
    return JSONResponse({"user": session["user"], "visits": session["visits"]})


def main(port: int, redis_url: str) -> None:
    sessions = {
        "store": RedisStore(redis_url),
        "lifetime": IDLE_SECONDS,
        "rolling": True,
        "cookie_name": "sid",
        "cookie_https_only": False,
    }
    app = Starlette(
        routes=[Route("/login", log_in, methods=["POST"]), Route("/", read)],
        middleware=[
            Middleware(SessionMiddleware, **sessions),
            Middleware(SessionAutoloadMiddleware),
        ],
    )
    fast = {"loop": "uvloop", "http": "httptools", "access_log": False, "log_level": "error"}
    uvicorn.run(app, host="127.0.0.1", port=port, **fast)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
