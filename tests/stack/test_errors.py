"""The error pages that visitors see: nginx's own and a worker's, in one look."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import httpx
import pytest

from app.handlers.error_pages import TEXTS
from deploy.free_port import free_ports
from tests.stack.conftest import ChangedNginx
from tests.stack.visitor import Visitor, new_visitor


def check_page(answer: httpx.Response, status: int, title: str) -> None:
    """One of our pages: its frame, its stylesheet, and the status in words."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert f"<h1>{title}</h1>" in answer.text
    assert "/static/style.css" in answer.text
    assert "Content-Security-Policy" in answer.headers


def tries_again(answer: httpx.Response) -> bool:
    return "/static/again.js" in answer.text


def test_not_found(visitor: Visitor) -> None:
    """A page that is not there looks the same whether a worker says so or nginx."""
    by_worker, by_nginx = visitor.get("/no-such-page"), visitor.get("/static/no-such-file.css")
    for answer in (by_worker, by_nginx):
        check_page(answer, 404, "Not Found")
        assert not tries_again(answer)
    assert "X-Served-By" in by_worker.headers
    assert "X-Served-By" not in by_nginx.headers


def test_not_found_by_a_program(visitor: Visitor) -> None:
    """Under /api/ a worker answers JSON for a path without a route, too."""
    answer = visitor.get("/api/no-such-path")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json()["error"] == "There is nothing at this address."
    assert answer.text.endswith("\n")


@pytest.mark.native
def test_no_worker(visitor: Visitor, changed_nginx: ChangedNginx) -> None:
    """Without a worker nginx's page says so, when to come back, and tries again by itself."""
    (nobody,) = free_ports(1)
    url = changed_nginx(
        "site.conf", "proxy_pass http://app;", f"proxy_pass http://127.0.0.1:{nobody};"
    )
    with new_visitor(url) as unlucky:
        answer = unlucky.get("/login")
    assert not tries_again(visitor.get("/login"))
    check_page(answer, 502, "Bad Gateway")
    assert answer.headers.get_list("Retry-After") == ["2"]
    assert tries_again(answer)


@pytest.mark.native
def test_a_slow_worker(changed_nginx: ChangedNginx) -> None:
    """When nginx waits no longer for a worker, its page says so, and does not ask again by itself."""
    timeout = "proxy_send_timeout 10s;"
    url = changed_nginx("proxy.conf", timeout, f"{timeout} proxy_read_timeout 300ms;")
    with new_visitor(url) as visitor:
        visitor.log_in()
        answer = visitor.get("/slow", params={"ms": 1500})
    check_page(answer, 504, "Gateway Timeout")
    assert answer.headers.get_list("Retry-After") == ["2"]
    assert not tries_again(answer)


ERRORS: dict[int, tuple[str, str, dict[str, Any]]] = {
    400: ("GET", "none", {"headers": {"Host": "a b"}}),
    405: ("TRACE", "session", {}),
    413: ("POST", "visits", {"content": b"x" * 70_000}),
}


@pytest.mark.parametrize("status", ERRORS)
def test_kind(visitor: Visitor, status: int) -> None:
    """nginx's own errors are JSON for the addresses of the API, and pages in the site's look elsewhere."""
    method, path, more = ERRORS[status]
    elsewhere = visitor.request(method, f"/{path}", **more)
    answer = visitor.request(method, f"/api/{path}", **more)

    check_page(elsewhere, status, HTTPStatus(status).phrase)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "error": TEXTS[status],
        "request_id": answer.headers["X-Request-ID"],
    }
    assert answer.text.endswith("\n")


@pytest.mark.native
def test_no_worker_for_the_api(changed_nginx: ChangedNginx) -> None:
    """Without a worker the API says so in JSON, and when to come back."""
    (nobody,) = free_ports(1)
    url = changed_nginx(
        "site.conf", "proxy_pass http://app;", f"proxy_pass http://127.0.0.1:{nobody};"
    )
    with new_visitor(url) as unlucky:
        answer = unlucky.get("/api/session")
    assert answer.status_code == 502
    assert answer.json()["error"] == TEXTS[502]
    assert answer.headers.get_list("Retry-After") == ["2"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/login", "GET, HEAD, POST"),
        ("HEAD", "/api/visits", "POST"),
        ("PATCH", "/api/data/k", "GET, HEAD, DELETE, PUT"),
        ("BREW", "/", "GET, HEAD"),
        ("POST", "/static/style.css", "GET, HEAD"),
        ("TRACE", "/", "GET, HEAD"),
    ],
)
def test_allow(visitor: Visitor, method: str, path: str, allowed: str) -> None:
    """Where a method is not taken, whoever asks, the answer says once which are."""
    answer = visitor.request(method, path)

    assert answer.status_code == 405
    assert answer.headers.get_list("Allow") == [allowed]


PAGES = [
    "/",
    "/login",
    "/logout",
    "/devices",
    "/api/session",
    "/api/devices",
    "/healthz",
    "/static/style.css",
]


@pytest.mark.parametrize("path", PAGES)
def test_head(visitor: Visitor, path: str) -> None:
    """HEAD is answered wherever GET is, to strangers and to members, with the same status and no body."""
    for _ in range(2):
        got, head = visitor.get(path), visitor.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers.get("Content-Type") == got.headers.get("Content-Type")
        assert head.headers.get("Location") == got.headers.get("Location")
        visitor.log_in()


def test_loading_an_ending_again(visitor: Visitor) -> None:
    """Loading the address of a device's end again ends nothing and leads to the list."""
    visitor.log_in()
    for path in ("end-others", "end-all", "0123456789abcdef/end"):
        answer = visitor.get(f"/devices/{path}")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/devices")
    assert visitor.get("/api/session").status_code == 200
