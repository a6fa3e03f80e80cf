"""Before the load: is a stack there, does one login work, and which optional endpoints has it?"""

import http.client
import json
import ssl
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from loadtest.verdict.counted import Features

START = "Start one with `make run` or `docker compose up`, or set HOST=."
UNNAMED = (
    "With SERVED_BY=0 answers do not say which worker made them, and nothing can be proved of their spread:"
    " set SERVED_BY=1, then `make rolling-restart`. A site without it is none of this kind."
)
TRIES = 16  # by then the rotation has come round to each worker of a stack of ordinary size
NEEDED = {"user", "visits", "idle_expires_in", "absolute_expires_in"}


class NotReachable(Exception):
    """No stack that can be tested answers; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, as much of it as the checks need."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def survey(host: str, password: str, timeout_seconds: float = 5) -> Features:
    """Log one session in and out again; returns which optional endpoints the stack has.

    NotReachable: there is nothing to test, with a sentence that says why.
    """
    answer = _ask(host, "GET", "/login", timeout=timeout_seconds)
    if answer.status != 200:
        raise NotReachable(f"{host}/login answered {answer.status}, not 200. {START}")
    if not answer.headers.get("X-Served-By"):
        raise NotReachable(f"{host}/login answers without X-Served-By. {UNNAMED}")
    cookie = _log_in(host, password, timeout_seconds)
    _check_session(_ask(host, "GET", "/api/session", cookie, timeout=timeout_seconds))
    optional = ("/slow?ms=0&kind=wait", "/api/data/survey", "/api/devices")
    slow, data, devices = (
        _ask(host, "GET", path, cookie, timeout=timeout_seconds) for path in optional
    )
    _ask(host, "POST", "/logout", cookie, timeout=timeout_seconds)
    # A field that nobody wrote is 404 too; but only where fields exist does the answer say so in JSON.
    return Features(slow.status == 200, _is_json(data), devices.status == 200)


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
    [cookie] = cookies.values()
    if cookie["secure"] and urlsplit(host).scheme == "http":
        raise NotReachable(
            f"{host} gives a Secure cookie over http, which no browser sends back."
            " Set HOST= to the https address."
        )
    return f"{cookie.key}={cookie.coded_value}"


def _check_session(answer: Answer) -> None:
    if answer.status != 200:
        raise NotReachable(f"after the login, GET /api/session answered {answer.status}, not 200")
    try:
        missing = NEEDED - set(json.loads(answer.body))
    except (ValueError, TypeError):
        missing = NEEDED
    if missing:
        raise NotReachable(f"GET /api/session does not give {', '.join(sorted(missing))}")


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
