"""What nginx adds to answers, what it hides, and what it tells the workers."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest

from app.settings import COOKIE_NAME
from deploy.native.scratch import Scratch
from tests.stack.conftest import ChangedNginx
from tests.stack.raw import ask
from tests.stack.visitor import Visitor, new_visitor

# One answer of each kind: who makes it (a worker, nginx, a file) and with which status.
ANSWERS: dict[str, Callable[[Visitor], httpx.Response]] = {
    "page": lambda visitor: visitor.get("/login"),
    "redirect": lambda visitor: visitor.get("/"),
    "JSON error": lambda visitor: visitor.get("/api/session"),
    "missing page": lambda visitor: visitor.get("/no-such-page"),
    "file": lambda visitor: visitor.get("/static/style.css"),
    "file, unchanged": lambda visitor: visitor.get("/static/style.css", headers=seen(visitor)),
    "missing file": lambda visitor: visitor.get("/static/no-such-file.css"),
    "hidden": lambda visitor: visitor.get("/metrics"),
    "too large": lambda visitor: visitor.post("/login", content=b"x" * 70_000),
    "not allowed": lambda visitor: visitor.post("/static/style.css"),
    "health": lambda visitor: visitor.get("/healthz"),
}
STATUS = {
    "page": 200,
    "redirect": 302,
    "JSON error": 401,
    "missing page": 404,
    "file": 200,
    "file, unchanged": 304,
    "missing file": 404,
    "hidden": 404,
    "too large": 413,
    "not allowed": 405,
    "health": 200,
}


def seen(visitor: Visitor) -> dict[str, str]:
    return {"If-None-Match": visitor.get("/static/style.css").headers["ETag"]}


def missing_security(answer: httpx.Response) -> list[str]:
    """The names of the security headers that are wrong or not there exactly once."""
    csp = r"default-src 'self';(?!.*unsafe).*frame-ancestors 'none'.*"
    wanted = {
        "Content-Security-Policy": csp,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": ".+",
        "X-Request-ID": "[0-9a-f]{32}",
    }
    values = {name: answer.headers.get_list(name) for name in wanted}
    return [
        name
        for name, pattern in wanted.items()
        if len(values[name]) != 1 or not re.fullmatch(pattern, values[name][0])
    ]


@pytest.mark.parametrize("kind", ANSWERS)
def test_security_headers(visitor: Visitor, kind: str) -> None:
    """Every kind of answer, errors and files included, carries the security headers once."""
    answer = ANSWERS[kind](visitor)

    assert answer.status_code == STATUS[kind]
    assert missing_security(answer) == []
    assert answer.headers["Server"] == "nginx"


@pytest.mark.native
def test_security_headers_need_merge(changed_nginx: ChangedNginx) -> None:
    """Without `add_header_inherit merge` files lose the headers, and the check above notices it."""
    url = changed_nginx("security-headers.conf", "add_header_inherit merge;", "")

    with new_visitor(url) as visitor:
        assert missing_security(visitor.get("/login")) == []
        assert "Content-Security-Policy" in missing_security(visitor.get("/static/style.css"))


def test_versioned_file_is_kept(visitor: Visitor) -> None:
    """With ?v= a file is good for a year, as its address changes with its content."""
    answer = visitor.get("/static/style.css", params={"v": "1"})

    assert answer.headers.get_list("Cache-Control") == ["public, max-age=31536000, immutable"]
    assert answer.headers["Content-Type"] == "text/css"


def test_plain_file_is_asked_for_again(visitor: Visitor) -> None:
    """Without ?v= a browser must ask again, and hears 304 while nothing changed."""
    answer = visitor.get("/static/style.css")
    again = visitor.get("/static/style.css", headers={"If-None-Match": answer.headers["ETag"]})

    assert answer.headers.get_list("Cache-Control") == ["no-cache"]
    assert again.status_code == 304


def test_missing_file_is_not_kept(visitor: Visitor) -> None:
    """A missing file is a 404 that no cache may keep, whatever its version says."""
    answer = visitor.get("/static/gone.css", params={"v": "1"})

    assert answer.status_code == 404
    assert answer.headers.get_list("Cache-Control") == ["no-store"]


@pytest.mark.parametrize(
    "path", ["/none", "/api/none", "/api/session", "/livez", "/static/none", "/%00"]
)
def test_errors_are_not_kept(visitor: Visitor, path: str) -> None:
    """Every error answer, of a worker or of nginx, says once that nobody may keep it."""
    answer = visitor.get(path)

    assert answer.status_code >= 400
    assert answer.headers.get_list("Cache-Control") == ["no-store"]


def test_page_links_versions(visitor: Visitor) -> None:
    """Each file a page links has a version, and is there."""
    links = re.findall(r'(?:href|src)="(/static/[^"]+)"', visitor.get("/login").text)

    assert links
    for link in links:
        assert "?v=" in link
        assert visitor.get(link).status_code == 200


def test_files_come_from_nginx(visitor: Visitor) -> None:
    """A file is served by nginx itself: no worker signs the answer, as one signs a page."""
    assert "X-Served-By" not in visitor.get("/static/style.css").headers
    assert "X-Served-By" in visitor.get("/login").headers


ESCAPES = ["/static/../settings.py", "/static/%2e%2e/settings.py", "/static../settings.py"]


@pytest.mark.parametrize("path", ESCAPES)
def test_only_static_files_are_served(visitor: Visitor, path: str) -> None:
    """Nothing outside app/static can be reached through /static/."""
    request = visitor.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())

    assert visitor.send(request).status_code in (400, 403, 404)


HIDDEN = ["/livez", "/readyz", "/metrics", "/livez?x=1", "//readyz", "/%6detrics", "/a/../metrics"]


@pytest.mark.parametrize("path", HIDDEN)
def test_operators_paths_are_hidden(visitor: Visitor, path: str) -> None:
    """What a worker says on its own port is 404 through nginx, however it is spelled."""
    request = visitor.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    answer = visitor.send(request)

    assert answer.status_code == 404
    assert "X-Served-By" not in answer.headers


def test_healthz(visitor: Visitor) -> None:
    """GET /healthz is 200 while a worker is ready, and says nothing else."""
    answer = visitor.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"ready": True})


@pytest.mark.native
def test_healthz_without_a_host(stack: Scratch) -> None:
    """A load balancer that asks over HTTP/1.0 and names no host gets an answer."""
    for method in ("GET", "HEAD"):
        assert ask(stack.http_port, f"{method} /healthz HTTP/1.0\r\n\r\n".encode()).status == 200


def test_form_from_another_site_is_refused(visitor: Visitor) -> None:
    """A login form posted from another site is refused; from this one, port included, it is not."""
    form = {"username": "test-origin", "password": "demo"}
    other = visitor.post("/login", data=form, headers={"Origin": "http://evil.example"})
    port = visitor.post("/login", data=form, headers={"Origin": "http://127.0.0.1:1"})
    same = visitor.post("/login", data=form, headers={"Origin": str(visitor.base_url).rstrip("/")})

    assert (other.status_code, port.status_code, same.status_code) == (403, 403, 302)


def test_forwarded_headers_are_overwritten(visitor: Visitor) -> None:
    """A client cannot pretend to use https: the cookie stays the one for http."""
    form = {"username": "test-forwarded", "password": "demo"}
    lies = {"X-Forwarded-Proto": "https", "X-Scheme": "https"}
    cookie = visitor.post("/login", data=form, headers=lies).headers["Set-Cookie"]

    assert cookie.startswith(f"{COOKIE_NAME}=")
    assert "Secure" not in cookie


@pytest.mark.native
def test_forwarded_headers_need_overwriting(changed_nginx: ChangedNginx) -> None:
    """Without nginx's own X-Scheme a worker believes the client, and the check above notices it."""
    url = changed_nginx("proxy.conf", "proxy_set_header X-Scheme $visitor_scheme;", "")
    form = {"username": "test-forwarded", "password": "demo"}

    with new_visitor(url) as visitor:
        answer = visitor.post("/login", data=form, headers={"X-Scheme": "https"})
        assert answer.headers["Set-Cookie"].startswith(f"__Host-{COOKIE_NAME}=")
