"""Before the load: is a stack there, does one login work, what does it offer, and who answers in which order?"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from loadtest.check.op import Lifetimes
from loadtest.plan import Survey
from loadtest.settings import Settings
from loadtest.verdict.spread import rotation_share

START = "Start one with `make run` or `docker compose up`, or set HOST=."
UNNAMED = (
    "With SERVED_BY=0 answers do not say which worker made them, and nothing can be proved of their spread:"
    " set SERVED_BY=1, then `make rolling-restart`. A site without it is none of this kind."
)
SECONDS = 5.0  # that an answer may take
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
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


def survey(host: str, password: str, longest: Lifetimes = DEFAULT_LIFETIMES) -> Survey:
    """Log one session in and out again; what it says is what a new session is given.

    `longest`: what it may say at most. NotReachable: there is nothing to test, with a sentence why.
    """
    stack = Stack(host)
    answer = stack.ask("GET", "/login")
    if answer.status != 200:
        raise NotReachable(f"{host}/login answered {answer.status}, not 200. {START}")
    if not answer.headers.get("X-Served-By"):
        raise NotReachable(f"{host}/login answers without X-Served-By. {UNNAMED}")
    begun = time.monotonic()
    cookie = _log_in(stack, password)
    session = _session(stack.ask_as(cookie, "GET", "/api/session"))
    lifetimes = _lifetimes(session, time.monotonic() - begun, longest)
    optional = ("/slow?ms=0&kind=wait", "/api/data/survey", "/api/devices")
    slow, data, devices = (stack.ask_as(cookie, "GET", path) for path in optional)
    stack.ask_as(cookie, "POST", "/logout")
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


def who_answers(host: str, count: int) -> tuple[str, ...]:
    """The workers that answer so many requests, each sent when the one before has been answered."""
    stack = Stack(host)
    return tuple(stack.ask("GET", "/login").headers.get("X-Served-By") or "" for _ in range(count))


class Stack:
    """Asks one question after the other, over one connection as long as the stack keeps it open."""

    def __init__(self, host: str) -> None:
        self.host = host
        urllib3.disable_warnings(InsecureRequestWarning)  # no certificate is checked, as by Locust
        self._pool = urllib3.PoolManager(cert_reqs="CERT_NONE", timeout=SECONDS, retries=False)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str = ""
    ) -> urllib3.BaseHTTPResponse:
        """The answer, also when it is a redirect; NotReachable when there is none."""
        try:
            return self._pool.request(
                method, self.host + path, body=body or None, headers=headers, redirect=False
            )
        except (OSError, HTTPError) as error:
            text = f"nothing usable answers at {self.host}: {error!r}. {START}"
            raise NotReachable(text) from None

    def ask_as(self, cookie: str, method: str, path: str) -> urllib3.BaseHTTPResponse:
        """Ask until a worker knows the session. Workers that do not share it are for the run to judge."""
        for _ in range(TRIES):
            answer = self.ask(method, path, {"Cookie": cookie})
            if answer.status != 401:
                break
        return answer


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


def _is_json(answer: urllib3.BaseHTTPResponse) -> bool:
    try:
        return isinstance(json.loads(answer.data), dict)
    except ValueError:
        return False


def _log_in(stack: Stack, password: str) -> str:
    form = urlencode({"username": "loadtest-survey", "password": password, "next": "/"})
    answer = stack.ask("POST", "/login", FORM, form)
    cookies = SimpleCookie(next(iter(answer.headers.getlist("Set-Cookie")), ""))
    if answer.status not in (302, 303) or not cookies:
        raise NotReachable(
            f"{stack.host} answers, but the demo login was refused with status {answer.status}."
            " The load test needs a stack with APP_ENV=demo; DEMO_PASSWORD= names another password."
        )
    cookie = next(iter(cookies.values()))
    if cookie["secure"] and urlsplit(stack.host).scheme == "http":
        raise NotReachable(
            f"{stack.host} gives a Secure cookie over http, which no browser sends back."
            " Set HOST= to the https address."
        )
    return f"{cookie.key}={cookie.coded_value}"


def _session(answer: urllib3.BaseHTTPResponse) -> dict[str, float]:
    if answer.status != 200:
        raise NotReachable(f"after the login, GET /api/session answered {answer.status}, not 200")
    try:
        session: dict[str, float] = json.loads(answer.data)
        missing = NEEDED - set(session)
    except (ValueError, TypeError):
        session, missing = {}, NEEDED
    if missing:
        raise NotReachable(f"GET /api/session does not give {', '.join(sorted(missing))}")
    return session
