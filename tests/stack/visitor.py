"""A visitor of the site, as the tests see one: an HTTP client that keeps cookies and can log in."""

from __future__ import annotations

import uuid
from typing import Any

import httpx


class Visitor(httpx.Client):
    """Follows no redirect by itself, so that a test sees each answer."""

    def log_in(self, name: str = "", password: str = "demo") -> httpx.Response:
        """Log in through the form, under a name of this test's own unless one is given."""
        form = {
            "username": name or f"test-{uuid.uuid4().hex[:12]}",
            "password": password,
            "next": "/",
        }
        answer = self.post("/login", data=form)
        assert answer.status_code == 302, f"{answer.status_code} {answer.text[:300]}"
        return answer

    def visit(self) -> dict[str, Any]:
        """Raise the counter of visits by one."""
        answer = self.post("/api/visits", json={"op": uuid.uuid4().hex})
        answer.raise_for_status()
        return dict(answer.json())

    def session(self) -> dict[str, Any]:
        """What the site knows of this visitor's session."""
        answer = self.get("/api/session")
        answer.raise_for_status()
        return dict(answer.json())


def new_visitor(site: str, **options: Any) -> Visitor:
    """A visitor without cookies; `options` are httpx's."""
    return Visitor(base_url=site, trust_env=False, timeout=10, **options)


def worker_of(answer: httpx.Response) -> str:
    """The worker that answered."""
    return str(answer.headers["X-Served-By"])
