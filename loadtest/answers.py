"""Reads an HTTP answer into an operation: what it says, and what it leaves open."""

import hashlib
import html
import json
import re
from collections.abc import Mapping
from typing import Any

from loadtest.operations import Kind, Op, Outcome

_GREETING = re.compile(r"What's up, ([^<?]+)\?</h1>")
_WRITES = (Kind.LOGIN, Kind.LOGOUT, Kind.VISIT, Kind.SLOW)
_NOT_SENT = (ConnectionRefusedError,)


def read_error(op: Op, error: Exception) -> None:
    """No answer came. Only a refused connection is certain to have had no effect."""
    op.outcome = Outcome.FAIL if isinstance(error, _NOT_SENT) else Outcome.UNKNOWN
    op.why = "connection refused" if op.outcome is Outcome.FAIL else "no answer"


def read_answer(op: Op, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Fill `op` from an answer."""
    op.status = status
    op.worker = headers.get("X-Served-By")
    location = headers.get("Location") or ""
    if status == 401 or (op.kind is Kind.PAGE and location.startswith("/login")):
        op.outcome, op.why = Outcome.DENIED, "not logged in"
    elif status >= 500:
        op.outcome = Outcome.UNKNOWN if op.kind in _WRITES else Outcome.FAIL
        op.why = f"status {status}"
    elif status != (302 if op.kind in (Kind.LOGIN, Kind.LOGOUT) else 200):
        op.outcome, op.why = Outcome.FAIL, f"status {status}"
    else:
        _read_content(op, body)
    if op.kind is Kind.LOGIN and op.outcome is Outcome.DENIED:
        op.outcome = Outcome.FAIL


def fingerprint(cookie: str) -> str:
    """A short hash of a cookie: enough to tell two apart, useless to anyone who finds it."""
    return hashlib.sha256(cookie.encode()).hexdigest()[:16]


def _read_content(op: Op, body: bytes) -> None:
    op.outcome = Outcome.OK
    try:
        if op.kind in (Kind.READ, Kind.PROBE):
            _read_session(op, json.loads(body))
        elif op.kind is Kind.VISIT:
            answer = json.loads(body)
            op.value, op.boot = int(answer["visits"]), answer.get("boot")
        elif op.kind is Kind.PAGE:
            op.seen = _greeted(body)
    except (ValueError, KeyError, TypeError):
        op.outcome = Outcome.UNKNOWN if op.kind in _WRITES else Outcome.FAIL
        op.why = "unreadable answer"


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
