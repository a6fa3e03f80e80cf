"""Before the load: is a stack there, does one login work, what does it offer, and who answers in which order?"""

import http.client
import json
import math
import ssl
import time
from dataclasses import dataclass, replace
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from loadtest.check.op import Lifetimes
from loadtest.plan import Survey
from loadtest.settings import Settings
from loadtest.verdict.spread import rotation_share

START = "Start one with `make run` or `docker compose up`, or set HOST=."
UNNAMED = (
    "With SERVED_BY=0 answers do not say which worker made them, and nothing can be proved of their spread:"
    " set SERVED_BY=1, then `make rolling-restart`. A site without it is none of this kind."
)
TRIES = 16  # by then the rotation has come round to each worker of a stack of ordinary size
NEEDED = {"user", "visits", "idle_expires_in", "absolute_expires_in"}
TURNS = 12  # of a rotation: enough to tell it from chance
ROTATIONS = 3  # tries, as other visitors may disturb one
IN_ORDER = 0.95  # one that is so far in order needs no second try
DEFAULT_WORKERS = 4
MOST_REQUESTS = 500
SLACK_SECONDS = 0.5  # rounding
DEFAULT_LIFETIMES = Lifetimes()


class NotReachable(Exception):
    """No stack that can be tested answers; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, as much of it as the checks need."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def survey(
    host: str, password: str, longest: Lifetimes = DEFAULT_LIFETIMES, timeout_seconds: float = 5
) -> Survey:
    """Log one session in and out again; what it says is what a new session is given.

    `longest`: what it may say at most. NotReachable: there is nothing to test, with a sentence why.
    """
    answer = _ask(host, "GET", "/login", timeout=timeout_seconds)
    if answer.status != 200:
        raise NotReachable(f"{host}/login answered {answer.status}, not 200. {START}")
    if not answer.headers.get("X-Served-By"):
        raise NotReachable(f"{host}/login answers without X-Served-By. {UNNAMED}")
    begun = time.monotonic()
    cookie = _log_in(host, password, timeout_seconds)
    session = _session(_ask(host, "GET", "/api/session", cookie, timeout=timeout_seconds))
    lifetimes = _lifetimes(session, time.monotonic() - begun, longest)
    optional = ("/slow?ms=0&kind=wait", "/api/data/survey", "/api/devices")
    slow, data, devices = (
        _ask(host, "GET", path, cookie, timeout=timeout_seconds) for path in optional
    )
    _ask(host, "POST", "/logout", cookie, timeout=timeout_seconds)
    # A field that nobody wrote is 404 too; but only where fields exist does the answer say so in JSON.
    there = {"slow": slow.status == 200, "data": _is_json(data), "devices": devices.status == 200}
    return Survey(lifetimes, tuple(name for name, is_there in there.items() if not is_there))


def look_round(settings: Settings) -> Survey:
    """The survey for these settings, with the order in which workers answer requests sent one by one."""
    longest = Lifetimes(
        settings.session_idle_seconds,
        settings.session_absolute_seconds,
        settings.session_touch_seconds,
    )
    found = survey(settings.host, settings.demo_password, longest)
    if settings.policy != "round_robin":
        return found
    count = TURNS * (sum(settings.weights) or settings.workers or DEFAULT_WORKERS)
    tries: list[tuple[str, ...]] = []
    while len(tries) < ROTATIONS:
        tries.append(who_answers(settings.host, min(count, MOST_REQUESTS)))
        if rotation_share(tries[-1], settings.weights) >= IN_ORDER:
            break
    return replace(found, rotations=tuple(tries))


def who_answers(host: str, count: int, timeout_seconds: float = 5) -> tuple[str, ...]:
    """The workers that answer so many requests, each sent when the one before has been answered."""
    parts = urlsplit(host)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout_seconds)
    names = []
    try:
        for _ in range(count):
            connection.request("GET", "/login")
            response = connection.getresponse()
            response.read()
            names.append(response.headers.get("X-Served-By") or "")
    except (OSError, http.client.HTTPException) as error:
        raise NotReachable(f"nothing usable answers at {host}: {error!r}. {START}") from None
    finally:
        connection.close()
    return tuple(names)


def _lifetimes(session: dict[str, float], elapsed: float, longest: Lifetimes) -> Lifetimes:
    return Lifetimes(
        _whole(session["idle_expires_in"], elapsed, longest.idle_seconds),
        _whole(session["absolute_expires_in"], elapsed, longest.absolute_seconds),
        longest.touch_seconds,
        SLACK_SECONDS + elapsed,
    )


def _whole(left: float, elapsed: float, longest: float) -> float:
    """The lifetime of a session that has `left` seconds after `elapsed` at most: whole seconds, if that fits."""
    if not 0 < left <= longest:
        return longest  # the run will say what is wrong with it
    if longest - left <= elapsed + SLACK_SECONDS:
        return longest
    up = math.ceil(left)
    return up if up - left <= elapsed + SLACK_SECONDS else left + elapsed / 2


def _is_json(answer: Answer) -> bool:
    try:
        return isinstance(json.loads(answer.body), dict)
    except ValueError:
        return False


def _log_in(host: str, password: str, timeout: float) -> str:
    form = urlencode({"username": "loadtest-survey", "password": password, "next": "/"})
    answer = _ask(host, "POST", "/login", body=form, timeout=timeout)
    cookies = SimpleCookie(answer.headers.get("Set-Cookie", ""))
    if answer.status not in (302, 303) or not cookies:
        raise NotReachable(
            f"{host} answers, but the demo login was refused with status {answer.status}."
            " The load test needs a stack with APP_ENV=demo; DEMO_PASSWORD= names another password."
        )
    cookie = next(iter(cookies.values()))
    if cookie["secure"] and urlsplit(host).scheme == "http":
        raise NotReachable(
            f"{host} gives a Secure cookie over http, which no browser sends back."
            " Set HOST= to the https address."
        )
    return f"{cookie.key}={cookie.coded_value}"


def _session(answer: Answer) -> dict[str, float]:
    if answer.status != 200:
        raise NotReachable(f"after the login, GET /api/session answered {answer.status}, not 200")
    try:
        session: dict[str, float] = json.loads(answer.body)
        missing = NEEDED - set(session)
    except (ValueError, TypeError):
        session, missing = {}, NEEDED
    if missing:
        raise NotReachable(f"GET /api/session does not give {', '.join(sorted(missing))}")
    return session


def _connection(
    scheme: str, name: str, port: int | None, timeout: float
) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(name, port, timeout=timeout)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as Locust's own client
    return http.client.HTTPSConnection(name, port, timeout=timeout, context=context)


def _ask(
    host: str, method: str, path: str, cookie: str = "", body: str = "", timeout: float = 5
) -> Answer:
    """Ask until a worker knows the session. Workers that do not share it are for the run to judge."""
    for _ in range(TRIES - 1):
        answer = _ask_once(host, method, path, cookie, body, timeout)
        if answer.status != 401 or not cookie:
            return answer
    return _ask_once(host, method, path, cookie, body, timeout)


def _ask_once(host: str, method: str, path: str, cookie: str, body: str, timeout: float) -> Answer:
    parts = urlsplit(host)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout)
    headers = {"Cookie": cookie} if cookie else {}
    if body:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise NotReachable(f"nothing usable answers at {host}: {error!r}. {START}") from None
    finally:
        connection.close()
