"""A visitor who speaks to workers directly, each request to the one that the test chooses.

The cookie is sent by hand: a jar would change it under requests that are to run at the same time.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

import httpx

from app.settings import COOKIE_NAME
from lab.testbed.workers import Worker

_COOKIE = re.compile(rf"{COOKIE_NAME}=([^;]*)")


class Visitor:
    """Keeps one cookie; follows no redirect."""

    def __init__(self, http: httpx.AsyncClient, cookie: str | None = None) -> None:
        self.http = http
        self.cookie = cookie
        self.user = ""

    async def ask(self, worker: Worker, method: str, path: str, **more: Any) -> httpx.Response:
        """Send one request; the visitor's cookie stays what it was."""
        headers = dict(more.pop("headers", {}))
        if self.cookie is not None:
            headers["Cookie"] = f"{COOKIE_NAME}={self.cookie}"
        return await self.http.request(method, worker.url + path, headers=headers, **more)

    async def get(self, worker: Worker, path: str, **more: Any) -> httpx.Response:
        return await self.ask(worker, "GET", path, **more)

    async def post(self, worker: Worker, path: str, **more: Any) -> httpx.Response:
        return await self.ask(worker, "POST", path, **more)

    async def log_in(self, worker: Worker, user: str = "") -> httpx.Response:
        """Log in under a name of its own unless one is given, and keep the new cookie."""
        self.user = user or f"user-{uuid.uuid4().hex[:12]}"
        form = {"username": self.user, "password": "demo", "next": "/"}
        answer = await self.post(worker, "/login", data=form)
        assert answer.status_code == 302, f"{answer.status_code} {answer.text[:200]}"
        self.cookie = new_cookie(answer)
        assert self.cookie
        return answer

    async def logged_in(self, worker: Worker, user: str = "") -> Visitor:
        """The same visitor, once it has logged in."""
        await self.log_in(worker, user)
        return self

    async def put(self, worker: Worker, key: str, value: Any) -> httpx.Response:
        return await self.ask(worker, "PUT", f"/api/data/{key}", json=value)

    async def data(self, worker: Worker, key: str) -> Any:
        """The value of one field, None when there is none."""
        answer = await self.get(worker, f"/api/data/{key}")
        assert answer.status_code in (200, 404), f"{answer.status_code} {answer.text[:200]}"
        return answer.json().get("value")

    async def knows_me(self, worker: Worker) -> bool:
        """Whether `worker` takes this visitor for somebody."""
        answer = await self.get(worker, "/api/session")
        assert answer.status_code in (200, 401), f"{answer.status_code} {answer.text[:200]}"
        return answer.status_code == 200


def new_cookie(answer: httpx.Response) -> str | None:
    """The value that the answer sets the session cookie to; None when it leaves the cookie alone."""
    match = _COOKIE.match(answer.headers.get("Set-Cookie", ""))
    return match[1] if match else None
