"""What an HTTP answer proves about a request's effect, and what it leaves open."""

import errno
import json

import pytest

from loadtest.check.op import Kind, Op, Outcome
from loadtest.load.answers import (
    fingerprint,
    given_cookie,
    named_by,
    read_answer,
    read_cookie,
    read_error,
    shorten,
)

SESSION = b'{"user":"ann","visits":3,"idle_expires_in":9.5,"absolute_expires_in":99}'


def op(kind: Kind) -> Op:
    """A request that was just sent."""
    return Op(1, kind, "s", "ann", 0)


CASES = [
    (Kind.READ, 200, {}, SESSION, Outcome.OK),
    (Kind.READ, 200, {}, b"<html>", Outcome.FAIL),
    (Kind.READ, 200, {}, b"{}", Outcome.FAIL),
    (Kind.READ, 401, {}, b"{}", Outcome.DENIED),
    (Kind.READ, 503, {}, b"{}", Outcome.FAIL),
    (Kind.VISIT, 200, {}, b'{"visits":4}', Outcome.OK),
    (Kind.VISIT, 200, {}, b"cut off", Outcome.UNKNOWN),
    (Kind.VISIT, 401, {}, b"{}", Outcome.DENIED),
    (Kind.VISIT, 429, {}, b"", Outcome.FAIL),
    (Kind.VISIT, 502, {}, b"", Outcome.UNKNOWN),
    (Kind.VISIT, 503, {}, b"", Outcome.UNKNOWN),
    (Kind.VISIT, 504, {}, b"", Outcome.UNKNOWN),
    (Kind.PAGE, 200, {}, b"<h1>What&#39;s up, ann?</h1>", Outcome.OK),
    (Kind.PAGE, 200, {}, b"<h1>Welcome</h1>", Outcome.FAIL),
    (Kind.PAGE, 302, {"Location": "/login?next=%2F"}, b"", Outcome.DENIED),
    (Kind.LOGIN, 302, {"Location": "/"}, b"", Outcome.OK),
    (Kind.LOGIN, 401, {}, b"", Outcome.FAIL),
    (Kind.LOGOUT, 302, {"Location": "/login", "Set-Cookie": 'sid=""; Path=/'}, b"", Outcome.OK),
    (Kind.LOGOUT, 302, {"Location": "/login"}, b"", Outcome.OK),
    (Kind.LOGOUT, 500, {}, b"", Outcome.UNKNOWN),
    (Kind.ADD, 200, {}, b'{"key":"k","value":4,"version":9}', Outcome.OK),
    (Kind.ADD, 409, {}, b"{}", Outcome.CONFLICT),
    (Kind.ADD, 503, {}, b"{}", Outcome.UNKNOWN),
    (Kind.ADD, 200, {}, b'{"key":"k"}', Outcome.UNKNOWN),
    (Kind.PUT, 200, {}, b'{"key":"k","value":1}', Outcome.OK),
    (Kind.PUT, 200, {}, b'{"key":"k"}', Outcome.UNKNOWN),
    (Kind.PUT, 409, {}, b"{}", Outcome.FAIL),
    (Kind.PUT, 413, {}, b"{}", Outcome.FAIL),
    (Kind.GET, 404, {}, b"{}", Outcome.OK),
    (Kind.COUNT, 404, {}, b"{}", Outcome.OK),
    (Kind.COUNT, 200, {}, b'{"key":"k","value":"four"}', Outcome.FAIL),
    (Kind.REPEAT, 200, {}, b'{"visits":4}', Outcome.OK),
    (Kind.GET, 503, {}, b"{}", Outcome.FAIL),
    (Kind.DELETE, 204, {}, b"", Outcome.OK),
    (Kind.DELETE, 504, {}, b"", Outcome.UNKNOWN),
    (Kind.DEVICES, 200, {}, b'{"devices":[]}', Outcome.OK),
    (Kind.DEVICES, 200, {}, b"{}", Outcome.FAIL),
    (Kind.DEVICES, 200, {}, b"<form action='/devices/end-all'>", Outcome.OK),
    (Kind.WRONG, 401, {}, b"", Outcome.DENIED),
    (Kind.WRONG, 429, {}, b"", Outcome.DENIED),
    (Kind.WRONG, 302, {"Location": "/"}, b"", Outcome.OK),
    (Kind.WRONG, 500, {}, b"", Outcome.FAIL),
    (Kind.STRANGER, 401, {}, b"", Outcome.DENIED),
    (Kind.STRANGER, 302, {"Location": "/login?next=%2F"}, b"", Outcome.DENIED),
    (Kind.STRANGER, 200, {}, b"", Outcome.OK),
    (Kind.STRANGER, 404, {}, b"", Outcome.DENIED),
    (Kind.STRANGER, 500, {}, b"", Outcome.FAIL),
    (Kind.END, 302, {"Location": "/devices"}, b"", Outcome.OK),
    (Kind.END, 302, {"Location": "/login?next=%2F"}, b"", Outcome.DENIED),
    (Kind.END, 502, {}, b"", Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("kind", "status", "headers", "body", "outcome"), CASES)
def test_outcome(
    kind: Kind, status: int, headers: dict[str, str], body: bytes, outcome: Outcome
) -> None:
    """A write with a server error may have happened; a read with one is simply a failure."""
    request = op(kind)
    read_answer(request, status, headers, body)
    assert request.outcome is outcome


def test_missing_field_counts_as_zero() -> None:
    """Asking for a field that is not there says how often it was raised: never."""
    request = op(Kind.COUNT)
    read_answer(request, 404, {}, b'{"error":"none"}')
    assert (request.outcome, request.value) == (Outcome.OK, 0)
    field = op(Kind.GET)
    read_answer(field, 404, {}, b'{"error":"none"}')
    assert (field.outcome, field.got) == (Outcome.OK, None)


def test_end_of_the_own_session_leads_to_the_login() -> None:
    """Whoever ends his own session is sent to the login as a stranger is; but nothing leads him back."""
    for place, outcome in (("/login", Outcome.OK), ("/login?next=%2F", Outcome.DENIED)):
        request = op(Kind.END)
        request.ends = ("s",)
        read_answer(request, 302, {"Location": place}, b"")
        assert request.outcome is outcome


PAGE = b"""<h1>What&#x27;s up, Zo\xc3\xab &lt;b&gt;?</h1><b data-field="visits">7</b><dd data-field="version">9</dd>
<dd data-field="visits">6</dd><span role="timer" data-left="idle_expires_in" data-seconds="59">0:00:59</span>
<span data-left="absolute_expires_in" data-seconds="600"></span>"""


def test_what_a_page_says() -> None:
    """Greeting, counter, version and timeouts are read off the page; of two counters the older one counts."""
    request = op(Kind.PAGE)
    read_answer(request, 200, {}, PAGE.replace(b" &lt;b&gt;", b""))
    assert (request.seen, request.value, request.version) == ("Zoë", 6, 9)
    assert (request.idle, request.absolute) == (59.0, 600.0)


def test_what_a_list_says() -> None:
    """The sessions that are listed, and the one that asks; a list that calls none or two so says that."""
    for flags, current in (((1, 0), "a"), ((0, 0), "none"), ((1, 1), "several")):
        request = op(Kind.DEVICES)
        devices = [
            {"ref": ref, "current": bool(flag)} for ref, flag in zip("ab", flags, strict=True)
        ]
        read_answer(request, 200, {}, json.dumps({"devices": devices}).encode())
        assert (request.refs, request.ref) == (("a", "b"), current)
    page = op(Kind.DEVICES)
    read_answer(
        page, 200, {}, b'<form method="post" action="/devices/a1/end"> action="/devices/end-all"'
    )
    assert (page.refs, page.ref) == (("a1",), None)
    marked = b'<h2 id="which-a1">This device</h2><form method="post" action="/devices/a1/end">'
    read_answer(page, 200, {}, marked)
    assert (page.refs, page.ref) == (("a1",), "a1")


@pytest.mark.parametrize(
    ("agents", "named"),
    [
        (("loadtest/1", "loadtest/2"), "b"),
        (("loadtest/1", "loadtest/3"), "none"),
        (("loadtest/2", "loadtest/2"), "several"),
        (("Firefox", "Firefox"), None),  # a stack that shows names in its own words
    ],
)
def test_list_knows_this_browser(agents: tuple[str, str], named: str | None) -> None:
    """The device with this browser's name is found; a list without it, or with two, says so."""
    devices = [{"ref": ref, "agent": agent} for ref, agent in zip("ab", agents, strict=True)]
    assert named_by(devices, "loadtest/2") == named


def test_nothing_to_end() -> None:
    """Whoever may end nothing is told so in any way; where something was to end, that is a failure."""
    for ends, outcome in (((), Outcome.OK), (("s",), Outcome.FAIL)):
        request = op(Kind.END)
        request.ends = ends
        read_answer(request, 404, {}, b"")
        assert request.outcome is outcome


@pytest.mark.parametrize(
    ("header", "cookie", "cleared"),
    [
        ("sid=new; Path=/", True, None),
        ('sid=""; expires=Sat, 29 Nov 2025 10:00:00 GMT; Path=/', False, True),
        ("sid=old; Max-Age=0; Path=/", False, True),
        ("sid=; Path=/elsewhere", False, None),  # the browser keeps the one it has
        ("sid=; Path=/; Domain=example.org", False, None),
        (["other=; Path=/", "sid=new; Path=/"], True, None),
        ("other=x; Path=/", False, None),
    ],
)
def test_what_becomes_of_the_cookie(
    header: str | list[str], cookie: bool, cleared: bool | None
) -> None:
    """A new session cookie, one that is taken away, and one of another name or path are told apart."""
    request = op(Kind.READ)
    new = read_cookie(request, {"Set-Cookie": header}, "sid")
    assert (bool(new), request.cookie is not None, request.cleared) == (cookie, cookie, cleared)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("1.0", "1", True),
        ('{"a":1,"b":2}', '{"b":2,"a":1}', True),
        (r'"\u00e9"', '"é"', True),
        ("1", "true", False),
        ("1", '"1"', False),
        ("0.1", "0.10000000000000002", False),
        (f'"{"a" * 100}"', f'"{"a" * 99}b"', False),
        ("null", '""', False),
    ],
)
def test_values_are_told_apart(one: str, other: str, equal: bool) -> None:
    """Two values have one spelling exactly if JSON means the same by them."""
    assert (shorten(json.loads(one)) == shorten(json.loads(other))) == equal


@pytest.mark.parametrize(
    ("header", "cookie"),
    [
        ('sid="2|1:0"; HttpOnly; Path=/', 'sid="2|1:0"'),
        (["old=; Path=/", "sid=x; Path=/"], "sid=x"),
        ('sid=""; Path=/', ""),
    ],
)
def test_given_cookie(header: str | list[str], cookie: str) -> None:
    """The cookie to send back is taken as it came; one that is being cleared is none."""
    assert given_cookie({"Set-Cookie": header}) == cookie
    assert given_cookie({}) == ""


def test_what_a_session_says() -> None:
    """User, count, lifetimes and worker are taken from the answer."""
    request = op(Kind.READ)
    read_answer(request, 200, {"X-Served-By": "w1"}, SESSION)
    assert (request.seen, request.value, request.worker) == ("ann", 3, "w1")
    assert (request.idle, request.absolute) == (9.5, 99.0)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), Outcome.FAIL),
        (ConnectionResetError(errno.ECONNRESET, "reset"), Outcome.UNKNOWN),
        (TimeoutError("timed out"), Outcome.UNKNOWN),
    ],
)
def test_no_answer(error: Exception, outcome: Outcome) -> None:
    """Only a refused connection is certain to have had no effect."""
    request = op(Kind.VISIT)
    read_error(request, error)
    assert request.outcome is outcome


def test_fingerprint_hides_the_cookie() -> None:
    """Two cookies can be told apart by what is stored, and neither can be used."""
    assert fingerprint("sid=a") != fingerprint("sid=b")
    assert "sid" not in fingerprint("sid=a")
