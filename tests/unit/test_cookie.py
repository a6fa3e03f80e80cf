"""Reading the session cookie: keys rotate, and no value of it raises."""

from __future__ import annotations

import time
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler, create_signed_value

from app import cookie
from app.cookie import SessionCookie
from app.sessions.identity import new_id
from app.settings import COOKIE_NAME

OLD, NEW = "an-old-secret" * 3, "a-new-secret" * 3
ID = new_id("ann")


class _Request:
    def __init__(self, header: str | None, protocol: str) -> None:
        self.headers = HTTPHeaders() if header is None else HTTPHeaders({"Cookie": header})
        self.protocol = protocol


class _Handler:
    """As much of a handler as the cookie needs."""

    def __init__(self, header: str | None = None, protocol: str = "http") -> None:
        self.request = _Request(header, protocol)
        self.written: dict[str, str] = {}

    def set_cookie(self, name: str, value: bytes, **flags: object) -> None:
        self.written[name] = value.decode()


def read(cookie: SessionCookie, header: str | None, protocol: str = "http") -> str | None:
    return cookie.read(cast(RequestHandler, _Handler(header, protocol)))


def written(cookie: SessionCookie, protocol: str = "http") -> str:
    handler = _Handler(protocol=protocol)
    cookie.write(cast(RequestHandler, handler), ID)
    ((name, value),) = handler.written.items()
    return f"{name}={value}"


def test_first_signs_all_verify() -> None:
    """The first secret signs; cookies of the others stay good wherever they stand in the list."""
    old = written(SessionCookie([OLD], 60))
    both = SessionCookie([NEW, OLD], 60)
    assert read(both, old) == ID
    assert read(SessionCookie([OLD, NEW], 60), written(both)) == ID
    assert read(SessionCookie([OLD], 60), written(both)) is None
    assert read(SessionCookie([NEW], 60), old) is None


def test_remembered_answers_are_right() -> None:
    """A cookie read before is read alike again, and a forged one is not remembered as good."""
    reader = SessionCookie([OLD], 60)
    good = written(reader)
    forged = good[:-1] + ("0" if good[-1] != "0" else "1")
    for _ in range(3):
        assert read(reader, good) == ID
        assert read(reader, forged) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker remembers only so many cookies."""
    monkeypatch.setattr(cookie, "REMEMBERED", 3)
    reader = SessionCookie([OLD], 60)
    for n in range(10):
        handler = _Handler()
        reader.write(cast(RequestHandler, handler), new_id(f"user-{n}"))
        assert read(reader, f"{COOKIE_NAME}={handler.written[COOKIE_NAME]}")
    assert len(reader._verified) <= 3


def test_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature older than any session can be is refused, with a day to spare for clocks."""
    signed = written(SessionCookie([OLD], 3600))
    now = time.time()
    for later, good in ((3600 + 80_000, True), (3600 + 90_000, False)):
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        assert (read(SessionCookie([OLD], 3600), signed) is not None) is good


def test_schemes_are_apart() -> None:
    """A cookie of http is not taken on https, nor the other way, not even under the other's name."""
    reader = SessionCookie([OLD], 60)
    http, https = written(reader), written(reader, "https")
    assert https.startswith(f"__Host-{COOKIE_NAME}=")
    assert read(reader, https, "https") == ID
    for header in (http, https):
        assert read(reader, header, "http" if header is https else "https") is None
    assert read(reader, http) == ID  # used, and so remembered
    assert read(reader, https.replace(f"__Host-{COOKIE_NAME}", COOKIE_NAME)) is None
    assert read(reader, http.replace(COOKIE_NAME, f"__Host-{COOKIE_NAME}", 1), "https") is None
    assert (
        read(reader, f"\xa0{https}", "https") is None
    )  # a space of another kind is part of the name


def test_name() -> None:
    """Under a name of its own the cookie is read and written by that name alone."""
    reader = SessionCookie([OLD], 60, "other-name")
    assert written(reader).startswith("other-name=")
    assert written(reader, "https").startswith("__Host-other-name=")
    assert read(reader, written(reader)) == ID
    assert read(reader, written(SessionCookie([OLD], 60))) is None


def test_several_values() -> None:
    """Of several cookies of one name the first good one counts, if it is among the first few."""
    reader = SessionCookie([OLD], 60)
    good, junk = written(reader), f"{COOKIE_NAME}=junk"
    assert read(reader, f"{junk}; {good}") == read(reader, f"{good}; {junk}") == ID
    assert read(reader, f"{junk}; " * 20 + good) is None


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        ";",
        "=",
        COOKIE_NAME,
        f"{COOKIE_NAME}=",
        f"{COOKIE_NAME}=;",
        f'{COOKIE_NAME}="',
        "xsid=1",
        f"{COOKIE_NAME}=" + "a" * 9000,
    ],
)
def test_nothing_there(header: str | None) -> None:
    """Without a usable cookie there is nobody."""
    assert read(SessionCookie([OLD], 60), header) is None


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=200))
def test_any_header(text: str) -> None:
    """Whatever a Cookie header holds, reading it ends without a session and without an error."""
    reader = SessionCookie([OLD, NEW], 60)
    assert read(reader, text) is None
    assert read(reader, f"{COOKIE_NAME}={text}") is None


@given(st.text(max_size=60))
def test_signed_rubbish(text: str) -> None:
    """A well signed value that has not the form of an id is nobody."""
    ring = SessionCookie([OLD], 60)
    value = create_signed_value(
        ring._ring,
        COOKIE_NAME,
        text.encode(errors="replace"),
        version=2,
        key_version=ring._signing_version,
    )
    assert read(ring, f"{COOKIE_NAME}={value.decode()}") is None


@pytest.mark.parametrize("blank", ["\xa0", "\x0b", "\x0c", "\x1c", "\x85", "\u2003"])
def test_only_space_and_tab_are_blanks(blank: str) -> None:
    """A name with another kind of blank beside it is another name: browsers let any page set that."""
    reader = SessionCookie([OLD], 60)
    https = written(reader, "https")
    for header in (blank + https, https.replace("=", blank + "=", 1)):
        assert read(reader, header, "https") is None
    assert read(reader, f"a=1;\t {https} \t;b=2", "https") == ID


def test_all_ids() -> None:
    """Each well signed id of a request is given once, in the order of the header."""
    reader, other = SessionCookie([OLD], 60), new_id("bob")
    handler = _Handler()
    reader.write(cast(RequestHandler, handler), other)
    ours = written(reader)
    header = f"{ours}; {COOKIE_NAME}={handler.written[COOKIE_NAME]}; {ours}; {COOKIE_NAME}=x"
    assert reader.ids(cast(RequestHandler, _Handler(header))) == [ID, other]
