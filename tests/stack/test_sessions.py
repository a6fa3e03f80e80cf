"""One session on every worker, and nothing but a true cookie opens it."""

from __future__ import annotations

import pytest

from app.settings import COOKIE_NAME
from tests.stack.visitor import Visitor, worker_of

MANY = 16  # requests, so that each of four workers is asked several times


def test_known_on_every_worker(member: Visitor) -> None:
    """Who logged in on one worker is known on every other, from the first request after it."""
    first = member.get("/")
    answers = [member.get("/api/session") for _ in range(MANY)]

    assert first.status_code == 200
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["user"] for answer in answers}) == 1
    assert len({answer.json()["created"] for answer in answers}) == 1
    assert len(set(map(worker_of, answers))) > 1


def test_unknown_without_the_cookie(member: Visitor) -> None:
    """The same requests without the cookie are refused by every worker: nothing but it identifies."""
    member.cookies.clear()

    assert {member.get("/api/session").status_code for _ in range(MANY)} == {401}


def test_each_visit_counts_once(member: Visitor) -> None:
    """The counter climbs by exactly one with each visit, whichever worker takes it."""
    visits = [member.visit() for _ in range(MANY)]

    assert [visit["visits"] for visit in visits] == list(range(1, MANY + 1))
    assert len({visit["worker"] for visit in visits}) > 1


def test_logout_ends_it_everywhere(member: Visitor) -> None:
    """After logout no worker accepts the old cookie."""
    cookie = member.cookies[COOKIE_NAME]
    assert member.post("/logout").status_code == 302
    member.cookies.set(COOKIE_NAME, cookie)

    assert {member.get("/api/session").status_code for _ in range(MANY)} == {401}


def changed(cookie: str, at: int) -> str:
    other = "A" if cookie[at] != "A" else "B"
    return cookie[:at] + other + cookie[at + 1 :]


BAD_COOKIES = {
    "empty": lambda cookie: "",
    "truncated": lambda cookie: cookie[: len(cookie) // 2],
    "without signature": lambda cookie: cookie.rpartition("|")[0],
    "changed value": lambda cookie: changed(cookie, len(cookie) // 2),
    "changed signature": lambda cookie: changed(cookie, -5),
    "twice": lambda cookie: cookie + cookie,
    "8 KB": lambda cookie: "x" * 8192,
    "8 KB behind a true one": lambda cookie: cookie + "x" * 8192,
    "not ASCII": lambda cookie: "\u00e4\u00f6\u00fc\u20ac",
    "separators": lambda cookie: "||||||2|1:0|",
    "quotes": lambda cookie: '"\\377"',
}


@pytest.mark.parametrize("kind", BAD_COOKIES)
def test_bad_cookie_is_anonymous(member: Visitor, visitor: Visitor, kind: str) -> None:
    """A cookie that is not exactly what the site gave makes an anonymous visitor, never an error."""
    value = BAD_COOKIES[kind](member.cookies[COOKIE_NAME])
    headers = [(b"Cookie", f"{COOKIE_NAME}=".encode() + value.encode())]
    page, form, api = (
        visitor.get(path, headers=headers) for path in ("/", "/login", "/api/session")
    )

    assert (page.status_code, form.status_code, api.status_code) == (302, 200, 401)
    assert not any("Set-Cookie" in answer.headers for answer in (page, form, api))


def test_true_cookie_is_accepted_by_hand(member: Visitor, visitor: Visitor) -> None:
    """The cookie written by hand, as the bad ones are, is accepted when it is the true one."""
    headers = [(b"Cookie", f"{COOKIE_NAME}=".encode() + member.cookies[COOKIE_NAME].encode())]

    assert visitor.get("/", headers=headers).status_code == 200


ROGUE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https://evil.example/",
    "http:///evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\n/evil.example",
    " //evil.example",
    "%2F%2Fevil.example",
    "evil.example",
    "//evil.example@127.0.0.1/",
    "/\r\nLocation: https://evil.example",
]


@pytest.mark.parametrize("target", ROGUE)
def test_next_stays_on_this_site(visitor: Visitor, target: str) -> None:
    """Whatever `next` says, a login leads to a path of this site."""
    form = {"username": "test-next", "password": "demo", "next": target}
    location = visitor.post("/login", data=form).headers.get_list("Location")

    assert len(location) == 1
    there = visitor.base_url.join(location[0])
    assert (there.scheme, there.host, there.port) == (
        visitor.base_url.scheme,
        visitor.base_url.host,
        visitor.base_url.port,
    )
    assert location[0].startswith("/")
    assert not location[0].startswith(("//", "/\\"))


def test_next_is_followed(visitor: Visitor) -> None:
    """A `next` of this site is where the login leads, query and all."""
    form = {"username": "test-next", "password": "demo", "next": "/logout?a=1&b=2"}

    assert visitor.post("/login", data=form).headers["Location"] == "/logout?a=1&b=2"
