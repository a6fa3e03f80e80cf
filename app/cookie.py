"""The session cookie: its name, its flags and its signature, all decided here.

The value is the session id, signed once with a ring of keys: the first key signs, each verifies, so
keys rotate without logging anybody out, and a forged id costs no call to Redis.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from tornado.web import RequestHandler, create_signed_value, decode_signed_value

from app.sessions import is_id
from app.settings import COOKIE_NAME

# Over https: no other host and no http page can plant it (ASVS 5.0 3.3.1, 3.3.3).
HOST_PREFIX = "__Host-"
MAX_VALUES = 3  # of one name that are looked at: a browser sends two where paths differ
MAX_VALUE_CHARACTERS = 512  # a signed id has about 170, a renewed one 270; longer ones are not ours
REMEMBERED = 10_000  # verified values a worker keeps, about 4 MiB


def _flags(name: str) -> dict[str, Any]:
    # HttpOnly: no script reads it.  Lax: other sites' forms do not send it, links from mail still work.
    return {
        "path": "/",
        "httponly": True,
        "samesite": "Lax",
        "secure": name.startswith(HOST_PREFIX),
    }


class SessionCookie:
    """Reads, writes and clears the cookie.

    Only `write` and `clear` emit Set-Cookie, for requests that created, renewed or ended a session;
    a miss, a bad signature or an outage never does, as a late answer would undo a fresh login.
    """

    def __init__(
        self, secrets: Iterable[str], max_age_seconds: float, name: str = COOKIE_NAME
    ) -> None:
        ring = {_key_version(secret): secret for secret in secrets}
        self._ring = ring
        self._signing_version = next(iter(ring))
        # The signature's age is only a backstop, Redis enforces the lifetimes; a day covers clocks.
        self._max_age_days = max_age_seconds / 86400 + 1
        self._plain_name = name
        # By name, too: http's is not good for https.
        self._verified: dict[tuple[str, str], str] = {}

    def read(self, handler: RequestHandler) -> str | None:
        """The first session id in the request's cookies, or None for no, a forged or a foreign one."""
        return next(iter(self.ids(handler)), None)

    def ids(
        self, handler: RequestHandler, note_forged: Callable[[], object] = lambda: None
    ) -> list[str]:
        """Each well signed session id in the request's cookies, in their order; usually one or none.

        `note_forged` is called for each value that is not ours: made up, damaged, or signed with a key that is gone.
        """
        found: list[str] = []
        name = self._name(handler)
        header = handler.request.headers.get("Cookie")
        for value in _values(header, name) if header else ():
            session_id = self._verified.get((name, value)) or self._verify(name, value)
            if session_id is None and value:
                note_forged()
            elif session_id is not None and session_id not in found:
                found.append(session_id)
        return found

    def write(
        self, handler: RequestHandler, session_id: str, max_age_seconds: float | None = None
    ) -> None:
        """Give the visitor this session.  A cookie without `max_age_seconds` ends with the browser."""
        name = self._name(handler)
        flags = _flags(name)
        if max_age_seconds is not None:
            flags["max_age"] = int(max_age_seconds)
        handler.set_cookie(name, self._sign(name, session_id), expires_days=None, **flags)

    def header(self, session_id: str, *, https: bool) -> str:
        """The Cookie header that a browser with this session sends."""
        name = HOST_PREFIX + self._plain_name if https else self._plain_name
        return f"{name}={self._sign(name, session_id).decode()}"

    def clear(self, handler: RequestHandler) -> None:
        """Take the cookie away, with the flags it was set with; browsers keep it otherwise.

        What scripts have stored goes too (ASVS 5.0 14.3.1).  Not "cookies": that takes those of other ports and
        subdomains.  Pages are in no cache.
        """
        handler.set_header("Clear-Site-Data", '"storage"')
        name = self._name(handler)
        handler.clear_cookie(name, **_flags(name))

    def _name(self, handler: RequestHandler) -> str:
        https = handler.request.protocol == "https"
        return HOST_PREFIX + self._plain_name if https else self._plain_name

    def _sign(self, name: str, session_id: str) -> bytes:
        return create_signed_value(
            self._ring, name, session_id, version=2, key_version=self._signing_version
        )

    def _verify(self, name: str, value: str) -> str | None:
        if len(value) > MAX_VALUE_CHARACTERS:
            return None
        # min_version=2: with a key ring, Tornado would raise on any other version instead of None.
        signed = decode_signed_value(
            self._ring, name, value, max_age_days=self._max_age_days, min_version=2
        )
        session_id = signed.decode("ascii", "replace") if signed else ""
        if not is_id(session_id):
            return None
        if len(self._verified) >= REMEMBERED:
            self._verified.clear()
        self._verified[name, value] = session_id
        return session_id


def _key_version(secret: str) -> int:
    """A number that stays with a secret wherever it stands in the list, for Tornado's key ring."""
    return int.from_bytes(hashlib.sha256(secret.encode()).digest()[:4])


def _values(header: str, name: str) -> list[str]:
    """The first values of `name` in a Cookie header (RFC 6265 section 5.4), without spaces and quotes.

    Tornado's own parser builds an object for each cookie; this runs before every request.
    """
    found = []
    for part in header.split(";"):
        key, equals, value = part.partition("=")
        if equals and key.strip(" \t") == name:
            found.append(value.strip(" \t").strip('"'))
    return found[:MAX_VALUES]
