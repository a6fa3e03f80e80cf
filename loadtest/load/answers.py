"""Reads an HTTP answer into an operation: what it says, and what it leaves open."""

import hashlib
import html
import json
import re
from collections.abc import Mapping
from typing import Any

from loadtest.check.op import Kind, Op, Outcome

Headers = Mapping[str, str | list[str]]  # a list: the header came several times

_GREETING = re.compile(r"What's up, ([^<?]+)\?</h1>")
_READS = (Kind.PAGE, Kind.READ, Kind.PROBE, Kind.GET, Kind.DEVICES)  # without effect
_MEANT = {  # the status that means "done"; 200 where nothing else is said
    Kind.LOGIN: (302, 303),
    Kind.LOGOUT: (302, 303),
    Kind.END: (302, 303),
    Kind.DELETE: (204, 200),
    Kind.GET: (200, 404),  # 404: the field is not there
}
_NOT_SENT = (ConnectionRefusedError,)


def read_error(op: Op, error: Exception) -> None:
    """No answer came. Only a refused connection is certain to have had no effect."""
    op.outcome = Outcome.FAIL if isinstance(error, _NOT_SENT) else Outcome.UNKNOWN
    op.why = "connection refused" if op.outcome is Outcome.FAIL else "no answer"


def read_answer(op: Op, status: int, headers: Headers, body: bytes) -> None:
    """Fill `op` from an answer."""
    op.status = status
    worker = headers.get("X-Served-By")
    op.worker = worker if isinstance(worker, str) else None
    if _turned_away(op, status, headers):
        op.outcome, op.why = Outcome.DENIED, "not logged in"
    elif status >= 500:
        op.outcome = Outcome.FAIL if op.kind in _READS else Outcome.UNKNOWN
        op.why = f"status {status}"
    elif status == 409 and op.kind is Kind.ADD:
        op.outcome, op.why = Outcome.CONFLICT, "others were faster"
    elif status not in _MEANT.get(op.kind, (200,)):
        op.outcome, op.why = Outcome.FAIL, f"status {status}"
    else:
        _read_content(op, status, body)
    if op.kind is Kind.LOGIN and op.outcome is Outcome.DENIED:
        op.outcome = Outcome.FAIL


def given_cookie(headers: Headers) -> str:
    """The `name=value` that an answer tells the browser to keep; empty when there is none."""
    given = headers.get("Set-Cookie") or ""
    pairs = [line.split(";")[0].strip() for line in ([given] if isinstance(given, str) else given)]
    return next((pair for pair in pairs if pair.partition("=")[2].strip('"')), "")


def fingerprint(cookie: str) -> str:
    """A short hash of a cookie: enough to tell two apart, useless to anyone who finds it."""
    return hashlib.sha256(cookie.encode()).hexdigest()[:16]


def _turned_away(op: Op, status: int, headers: Headers) -> bool:
    """Whether the answer says that there is no session.

    To a logout that is the same redirect as to a visitor who had one; but then the cookie stays.
    """
    if status == 401:
        return True
    to_login = str(headers.get("Location") or "").startswith("/login")
    if op.kind is Kind.LOGOUT:
        return to_login and not headers.get("Set-Cookie")
    return to_login and op.kind in (Kind.PAGE, Kind.END)


def _read_content(op: Op, status: int, body: bytes) -> None:
    op.outcome = Outcome.OK
    try:
        if op.kind in (Kind.READ, Kind.PROBE):
            _read_session(op, json.loads(body))
        elif op.kind is Kind.VISIT:
            answer = json.loads(body)
            op.value, op.boot = int(answer["visits"]), answer.get("boot")
        elif op.kind in (Kind.ADD, Kind.PUT, Kind.GET):
            _read_field(op, {"value": 0} if status == 404 else json.loads(body))
        elif op.kind is Kind.PAGE:
            op.seen = _greeted(body)
    except (ValueError, KeyError, TypeError):
        op.outcome = Outcome.FAIL if op.kind in _READS else Outcome.UNKNOWN
        op.why = "unreadable answer"


def _read_field(op: Op, answer: dict[str, Any]) -> None:
    op.value, op.version = int(answer["value"]), answer.get("version")


def _read_session(op: Op, answer: dict[str, Any]) -> None:
    op.seen, op.value = str(answer["user"]), int(answer["visits"])
    op.version, op.boot = answer.get("version"), answer.get("boot")
    op.idle = float(answer["idle_expires_in"])
    op.absolute = float(answer["absolute_expires_in"])


def _greeted(body: bytes) -> str:
    found = _GREETING.search(html.unescape(body.decode()))
    if found is None:
        raise ValueError("the page greets nobody")
    return found[1]
