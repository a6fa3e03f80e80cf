"""One browser: a cookie jar, up to six connections, and the requests a visitor makes with it."""

from collections.abc import Callable
from dataclasses import dataclass
from http.cookiejar import Cookie
from typing import Any
from urllib.parse import urlencode

from locust.contrib.fasthttp import FastHttpSession
from locust.env import Environment

from loadtest.answers import fingerprint, read_answer, read_error
from loadtest.operations import Kind, Op, Outcome
from loadtest.recorder import Recorder

CONNECTIONS = 6  # what browsers open to one host over HTTP/1.1
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


@dataclass(slots=True)
class Visit:
    """One logged-in session as its browser knows it."""

    label: str
    user: str
    cookie: str  # name=value
    increments: int = 0
    over: bool = False  # it has been asked to end: "not logged in" is then a proper answer


class LoginFailed(Exception):
    """The login did not give a session; it has been recorded as a failure."""


class Browser:
    """Sends requests and records each. Several greenlets may use one browser at a time."""

    def __init__(self, environment: Environment, recorder: Recorder, host: str) -> None:
        self._recorder = recorder
        self._http = FastHttpSession(
            base_url=host,
            request_event=environment.events.request,
            user=None,
            insecure=True,
            concurrency=CONNECTIONS,
            connection_timeout=5.0,
            network_timeout=15.0,
            max_retries=0,
            # Every answer is looked at as it comes. Locust's allow_redirects=False would do that by
            # switching an attribute that the parallel requests of one browser share.
            max_redirects=0,
        )

    def login(self, user: str, password: str, replacing: Visit | None = None) -> Visit:
        """Log in, over the session that the jar still holds if there is one."""
        label = self._recorder.new_session()
        body = urlencode({"username": user, "password": password, "next": "/"})
        op = self._recorder.invoke(
            Kind.LOGIN, label, user, replaces=replacing.label if replacing else None
        )
        if replacing:
            replacing.over = True
        self._send(op, "POST", "/login", body, FORM, self._take_cookie)
        if op.outcome is not Outcome.OK:
            raise LoginFailed(op.why)
        return Visit(label, user, self._cookie())

    def logout(self, visit: Visit) -> Op:
        """End the session."""
        visit.over = True
        return self._ask(Kind.LOGOUT, visit, "POST", "/logout")

    def page(self, visit: Visit, intended: int | None = None) -> Op:
        """Open the main page."""
        return self._ask(Kind.PAGE, visit, "GET", "/", intended=intended)

    def read(self, visit: Visit, intended: int | None = None) -> Op:
        """Ask for the session."""
        return self._ask(Kind.READ, visit, "GET", "/api/session", intended=intended)

    def visit(self, visit: Visit, intended: int | None = None) -> Op:
        """Raise the visit counter by one, under an operation id of our own."""
        visit.increments += 1
        name = f"{visit.label}-{visit.increments}"
        entry = self._recorder.invoke(Kind.VISIT, visit.label, visit.user, intended, op=name)
        return self._send(
            entry, "POST", "/api/visits", f'{{"op":"{name}"}}', JSON, self._expect(visit)
        )

    def slow_write(self, visit: Visit, milliseconds: int) -> Op:
        """A request that writes the session after a while, whatever happens meanwhile."""
        path = f"/slow?ms={milliseconds}&kind=wait&write=slow"
        return self._ask(Kind.SLOW, visit, "GET", path, name="/slow")

    def probe(self, visit: Visit) -> Op:
        """Ask for the session with the cookie of a session that should be over."""
        entry = self._recorder.invoke(Kind.PROBE, visit.label, visit.user)
        headers = {"Cookie": visit.cookie}
        return self._send(entry, "GET", "/api/session", None, headers, self._expect(visit))

    def end(self, visit: Visit) -> None:
        """The session will not be used again: let the checker close its account."""
        self._recorder.checker.close(visit.label)

    def _ask(
        self,
        kind: Kind,
        visit: Visit,
        method: str,
        path: str,
        intended: int | None = None,
        name: str | None = None,
    ) -> Op:
        entry = self._recorder.invoke(kind, visit.label, visit.user, intended)
        return self._send(entry, method, path, None, {}, self._expect(visit), name)

    def _send(
        self,
        op: Op,
        method: str,
        path: str,
        body: str | None,
        headers: dict[str, str],
        examine: Callable[[Op, Any], bool],
        name: str | None = None,
    ) -> Op:
        """Send, read the answer, record. `examine` says whether the outcome was a proper one."""
        try:
            with self._http.request(
                method, path, name=name, data=body, headers=headers, catch_response=True
            ) as response:
                self._recorder.returned(op)
                error = getattr(response, "error", None)
                if response.status_code:
                    read_answer(op, response.status_code, response.headers, response.content)
                else:
                    read_error(op, error or OSError())
                if examine(op, response):
                    response.success()
                else:
                    response.failure(f"{op.kind}: {op.why}")
        finally:
            self._recorder.complete(op)
        return op

    def _expect(self, visit: Visit) -> Callable[[Op, Any], bool]:
        def examine(op: Op, response: Any) -> bool:
            sent = response.request.headers.get("Cookie") if response.request else None
            if sent != visit.cookie and not visit.over:
                self._recorder.cookies_withheld += 1
                op.outcome, op.why = Outcome.FAIL, "session cookie not sent"
            return op.outcome is Outcome.OK or (op.outcome is Outcome.DENIED and visit.over)

        return examine

    def _take_cookie(self, op: Op, response: Any) -> bool:
        if op.outcome is Outcome.OK:
            cookie = self._cookie()
            op.cookie = fingerprint(cookie) if cookie else None
            if not cookie:
                op.outcome, op.why = Outcome.FAIL, "login gave no cookie"
        return op.outcome is Outcome.OK

    def _cookie(self) -> str:
        jar: list[Cookie] = list(self._http.cookiejar)
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)
