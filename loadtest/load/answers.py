"""Reads an HTTP answer into an operation: what it says, and what it leaves open."""

import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loadtest.check.op import Kind, Op, Outcome, ended_sessions

Headers = Mapping[str, str | list[str]]  # a list: the header came several times

_GREETING = re.compile(r"What's up, ([^<?]+)\?</h1>")
_FIGURE = re.compile(r'data-field="(visits|version)"[^>]*>\s*(\d+)')
_LEFT = re.compile(r'data-left="(idle|absolute)_expires_in"\s+data-seconds="(-?\d+)"')
_DEVICE = re.compile(r'action="/devices/([\w-]+)/end"')
_THIS_DEVICE = re.compile(r'id="which-([\w-]+)"[^>]*>\s*This device')
_PAST = re.compile(
    r"max-age=\s*(0|-\d+)|expires=[^;]*\b19\d\d|expires=[^;]*\b20[01]\d", re.IGNORECASE
)
_WHOLE_SITE = re.compile(r"(^|;)\s*path=/\s*(;|$)", re.IGNORECASE)
_DOMAIN = re.compile(r"(^|;)\s*domain=", re.IGNORECASE)
_READS = (
    *(Kind.PAGE, Kind.READ, Kind.PROBE, Kind.COUNT, Kind.GET, Kind.DEVICES),
    *(Kind.WRONG, Kind.STRANGER),
)  # without effect
_MEANT = {  # the status that means "done"; 200 where nothing else is said
    Kind.LOGIN: (302, 303),
    Kind.WRONG: (302, 303),  # what should not be done
    Kind.LOGOUT: (302, 303),
    Kind.END: (302, 303),
    Kind.DELETE: (204, 200),
    Kind.COUNT: (200, 404),  # 404: the field is not there
    Kind.GET: (200, 404),
    Kind.STRANGER: (200, 201, 202, 204, 302, 303),
}
_REFUSED = (400, 401, 403, 429)  # a wrong password
_NOTHING_THERE = (403, 404, 405)  # for a stranger, and for who ends what is not his
_NOT_SENT = (ConnectionRefusedError,)
SHORT = 40  # characters of a value that are kept as they are
AGENTS = "loadtest/"  # the names of all browsers of the load test begin so


def read_error(op: Op, error: Exception) -> None:
    """No answer came. Only a refused connection is certain to have had no effect."""
    op.outcome = Outcome.FAIL if isinstance(error, _NOT_SENT) else Outcome.UNKNOWN
    refused = op.outcome is Outcome.FAIL
    op.why = "connection refused" if refused else f"no answer: {type(error).__name__}"


def read_answer(op: Op, status: int, headers: Headers, body: bytes) -> None:
    """Fill `op` from an answer."""
    op.status = status
    worker = headers.get("X-Served-By")
    op.worker = worker if isinstance(worker, str) else None
    if _turned_away(op, status, headers):
        op.outcome, op.why = Outcome.DENIED, op.why or "not logged in"
    elif status >= 500:
        op.outcome = Outcome.FAIL if op.kind in _READS else Outcome.UNKNOWN
        op.why = f"status {status}"
    elif status == 409 and op.kind is Kind.ADD:
        op.outcome, op.why = Outcome.CONFLICT, "others were faster"
    elif status not in _MEANT.get(op.kind, (200,)) and not _ended_nothing(op, status):
        op.outcome, op.why = Outcome.FAIL, f"status {status}"
    else:
        _read_content(op, status, body)
    if op.kind is Kind.LOGIN and op.outcome is Outcome.DENIED:
        op.outcome = Outcome.FAIL


@dataclass(frozen=True, slots=True)
class Given:
    """What an answer tells the browser about one cookie."""

    name: str
    value: str
    whole_site: bool  # as the stack's own cookie: with another path or domain it is another cookie
    expired: bool

    @property
    def pair(self) -> str:
        """As the browser sends it back."""
        return f"{self.name}={self.value}"

    @property
    def kept(self) -> bool:
        """Whether the browser has it afterwards; an empty one is as good as none."""
        return bool(self.value.strip('"')) and not self.expired


def given_cookies(headers: Headers) -> Iterable[Given]:
    """Every cookie that an answer sets or takes away."""
    given = headers.get("Set-Cookie") or ()
    for line in [given] if isinstance(given, str) else given:
        pair, _, attributes = line.partition(";")
        name, _, value = pair.strip().partition("=")
        whole = _WHOLE_SITE.search(attributes) and not _DOMAIN.search(attributes)
        yield Given(name, value, bool(whole), bool(_PAST.search(attributes)))


def given_cookie(headers: Headers) -> str:
    """The `name=value` that an answer tells the browser to keep; empty when there is none."""
    return next((given.pair for given in given_cookies(headers) if given.kept), "")


def read_cookie(op: Op, headers: Headers, name: str) -> str:
    """Note in `op` what the answer does to the session cookie of that name; returns a new one as sent."""
    for given in given_cookies(headers):
        if given.name != name:
            continue
        if given.kept:
            op.cookie = fingerprint(given.pair)
            return given.pair
        if given.whole_site:  # otherwise the browser keeps the one it has
            op.cleared = True
    return ""


def fingerprint(cookie: str) -> str:
    """A short hash of a cookie: enough to tell two apart, useless to anyone who finds it."""
    return hashlib.sha256(cookie.encode()).hexdigest()[:16]


def shorten(value: object) -> str:
    """A JSON value in one spelling, with a hash in the place of what is long: equal texts, equal values."""
    text = json.dumps(_spelt(value), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    if len(text) <= SHORT:
        return text
    return f"{text[:SHORT]}… {len(text)} #{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _spelt(value: object) -> object:
    """JSON knows one kind of number: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_spelt(each) for each in value]
    if isinstance(value, dict):
        return {key: _spelt(each) for key, each in value.items()}
    return value


def _turned_away(op: Op, status: int, headers: Headers) -> bool:
    """Whether the answer says that there is no session, or that the password is wrong.

    To whoever ends his own session the redirect looks the same, but for where it wants to lead back.
    """
    if op.kind is Kind.WRONG and status in _REFUSED:
        op.why = f"status {status}"
        return True
    if status == 401 or (op.kind is Kind.STRANGER and status in _NOTHING_THERE):
        return True
    place = str(headers.get("Location") or "")
    if op.kind is Kind.LOGOUT or not place.startswith("/login"):
        return False
    if op.session in ended_sessions(op):
        return "next=" in place
    return op.kind in (Kind.PAGE, Kind.END, Kind.STRANGER, Kind.DEVICES)


def _ended_nothing(op: Op, status: int) -> bool:
    """Whether this says that a session which is not the user's own cannot be ended."""
    return op.kind is Kind.END and not op.ends and status in _NOTHING_THERE


def _read_content(op: Op, status: int, body: bytes) -> None:
    op.outcome = Outcome.OK
    read = _READERS.get(op.kind)
    if read is None:
        return
    try:
        read(op, body if status != 404 else b"")
    except (ValueError, KeyError, TypeError):
        op.outcome = Outcome.FAIL if op.kind in _READS else Outcome.UNKNOWN
        op.why = "unreadable answer"


def _read_visit(op: Op, body: bytes) -> None:
    answer = json.loads(body)
    op.value, op.boot = int(answer["visits"]), answer.get("boot")


def _read_count(op: Op, body: bytes) -> None:
    answer = json.loads(body) if body else {"value": 0}
    op.value, op.version = int(answer["value"]), answer.get("version")


def _read_value(op: Op, body: bytes) -> None:
    """What stands in a field; its place among all that was written there the browser knows."""
    if body:
        answer = json.loads(body)
        op.got, op.version = shorten(answer["value"]), answer.get("version")


def _read_session(op: Op, body: bytes) -> None:
    answer = json.loads(body)
    op.seen, op.value = str(answer["user"]), int(answer["visits"])
    op.version, op.boot = answer.get("version"), answer.get("boot")
    op.idle = float(answer["idle_expires_in"])
    op.absolute = float(answer["absolute_expires_in"])


def _read_page(op: Op, body: bytes) -> None:
    """Whom the page greets, and the figures on it; of a figure that is there twice, the lower one."""
    text = html.unescape(body.decode())
    found = _GREETING.search(text)
    if found is None:
        raise ValueError("the page greets nobody")
    op.seen = found[1]
    for name, figure in _FIGURE.findall(text):
        shown = int(figure)
        if name == "visits":
            op.value = shown if op.value is None else min(op.value, shown)
        else:
            op.version = shown if op.version is None else min(op.version, shown)
    left = {name: float(seconds) for name, seconds in _LEFT.findall(text)}
    op.idle, op.absolute = left.get("idle"), left.get("absolute")


def _read_devices(op: Op, body: bytes) -> None:
    """The sessions that are listed; only the list in JSON says in so many words which one asks."""
    if not body.lstrip().startswith(b"{"):
        page = body.decode()
        op.refs, marked = tuple(_DEVICE.findall(page)), _THIS_DEVICE.findall(page)
        op.ref = (marked[0] if len(marked) == 1 else "several") if marked else None
        return
    devices: list[dict[str, Any]] = json.loads(body)["devices"]
    op.refs = tuple(str(device["ref"]) for device in devices)
    current = [str(device["ref"]) for device in devices if device["current"]]
    op.ref = current[0] if len(current) == 1 else "none" if not current else "several"


def named_by(devices: list[dict[str, Any]], agent: str) -> str | None:
    """Which device of a list has this browser's name; nothing where names are not shown as they were sent."""
    shown = [device for device in devices if str(device.get("agent")).startswith(AGENTS)]
    mine = [str(device["ref"]) for device in shown if device["agent"] == agent]
    if len(mine) == 1 or not shown:
        return mine[0] if mine else None
    return "several" if mine else "none"


_READERS: dict[Kind, Callable[[Op, bytes], None]] = {
    Kind.READ: _read_session,
    Kind.PROBE: _read_session,
    Kind.VISIT: _read_visit,
    Kind.REPEAT: _read_visit,
    Kind.ADD: _read_count,
    Kind.COUNT: _read_count,
    Kind.PUT: _read_value,
    Kind.GET: _read_value,
    Kind.PAGE: _read_page,
    Kind.DEVICES: _read_devices,
}
