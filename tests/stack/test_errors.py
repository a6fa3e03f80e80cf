"""The error pages that visitors see: nginx's own and a worker's, in one look."""

from __future__ import annotations

import httpx
import pytest

from deploy.native.scratch import free_ports
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
    """When a worker does not answer in time, the page says so."""
    url = changed_nginx("site.conf", "proxy_read_timeout 15s;", "proxy_read_timeout 300ms;")
    with new_visitor(url) as visitor:
        visitor.log_in()
        answer = visitor.get("/slow", params={"ms": 1500})
    check_page(answer, 504, "Gateway Timeout")
    assert answer.headers.get_list("Retry-After") == ["2"]


def test_loading_an_ending_again(visitor: Visitor) -> None:
    """Loading the address of a device's end again ends nothing and leads to the list."""
    visitor.log_in()
    for path in ("end-others", "end-all", "0123456789abcdef/end"):
        answer = visitor.get(f"/devices/{path}")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/devices")
    assert visitor.get("/api/session").status_code == 200
