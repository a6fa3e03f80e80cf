"""What an HTTP answer proves about a request's effect, and what it leaves open."""

import errno

import pytest

from loadtest.check.op import Kind, Op, Outcome
from loadtest.load.answers import fingerprint, given_cookie, read_answer, read_error

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
    (Kind.LOGOUT, 302, {"Location": "/login"}, b"", Outcome.DENIED),
    (Kind.LOGOUT, 500, {}, b"", Outcome.UNKNOWN),
    (Kind.ADD, 200, {}, b'{"key":"k","value":4,"version":9}', Outcome.OK),
    (Kind.ADD, 409, {}, b"{}", Outcome.CONFLICT),
    (Kind.ADD, 503, {}, b"{}", Outcome.UNKNOWN),
    (Kind.ADD, 200, {}, b'{"key":"k"}', Outcome.UNKNOWN),
    (Kind.PUT, 200, {}, b'{"key":"k","value":1}', Outcome.OK),
    (Kind.PUT, 409, {}, b"{}", Outcome.FAIL),
    (Kind.PUT, 413, {}, b"{}", Outcome.FAIL),
    (Kind.GET, 404, {}, b"{}", Outcome.OK),
    (Kind.GET, 503, {}, b"{}", Outcome.FAIL),
    (Kind.DELETE, 204, {}, b"", Outcome.OK),
    (Kind.DELETE, 504, {}, b"", Outcome.UNKNOWN),
    (Kind.DEVICES, 200, {}, b"{}", Outcome.OK),
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
    request = op(Kind.GET)
    read_answer(request, 404, {}, b'{"error":"none"}')
    assert (request.outcome, request.value) == (Outcome.OK, 0)


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
