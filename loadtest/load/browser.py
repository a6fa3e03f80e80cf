"""One browser: a cookie jar, up to six connections, and the requests a visitor makes with it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from locust.contrib.fasthttp import FastHttpSession
from locust.env import Environment

from loadtest.check.op import Kind, Op, Outcome
from loadtest.load.answers import fingerprint, given_cookie, read_answer, read_error
from loadtest.load.recorder import Recorder

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
    pinned: bool = False  # its cookie is written out, as the jar may hold another one by now


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
        headers = {**FORM, "Cookie": replacing.cookie} if replacing and replacing.pinned else FORM
        given: list[str] = []
        self._send(op, "POST", "/login", body, headers, _take_cookie(given))
        if op.outcome is not Outcome.OK:
            raise LoginFailed(op.why)
        return Visit(label, user, given[0])

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
        body = f'{{"op":"{name}"}}'
        return self._ask(
            Kind.VISIT, visit, "POST", "/api/visits", body=body, intended=intended, op=name
        )

    def add(self, visit: Visit, key: str) -> Op:
        """Raise a field by one: the stack reads, changes and writes it."""
        path = f"/api/data/{key}/add"
        return self._ask(Kind.ADD, visit, "POST", path, body='{"by":1}', key=key)

    def put(self, visit: Visit, key: str, value: int) -> Op:
        """Write a field. Its only writer calls this, with 1, then 2, and so on while all is ok."""
        return self._ask(Kind.PUT, visit, "PUT", f"/api/data/{key}", body=str(value), key=key)

    def get(self, visit: Visit, key: str) -> Op:
        """Ask for a field."""
        return self._ask(Kind.GET, visit, "GET", f"/api/data/{key}", key=key)

    def delete(self, visit: Visit, key: str) -> Op:
        """Delete a field that nobody will write again."""
        return self._ask(Kind.DELETE, visit, "DELETE", f"/api/data/{key}", key=key)

    def own_device(self, visit: Visit) -> str | None:
        """The name under which the user's other sessions can end this one; None: not listed."""
        listed: list[str] = []
        self._ask(Kind.DEVICES, visit, "GET", "/api/devices", learn=_find_current(listed))
        return listed[0] if listed else None

    def end_device(self, visit: Visit, device: str, other: Visit) -> Op:
        """End another session of the same user."""
        return self._end(visit, f"/devices/{device}/end", [other])

    def end_others(self, visit: Visit, others: Sequence[Visit]) -> Op:
        """End all other sessions of the same user."""
        return self._end(visit, "/devices/end-others", others)

    def slow_write(self, visit: Visit, milliseconds: int) -> Op:
        """A request that writes the session after a while, whatever happens meanwhile."""
        path = f"/slow?ms={milliseconds}&kind=wait&write=slow"
        return self._ask(Kind.SLOW, visit, "GET", path)

    def probe(self, visit: Visit) -> Op:
        """Ask for the session with the cookie of a session that should be over."""
        visit.pinned = True
        return self._ask(Kind.PROBE, visit, "GET", "/api/session")

    def end(self, visit: Visit) -> None:
        """The session will not be used again: let the checker close its account."""
        self._recorder.checker.close(visit.label)

    def _end(self, visit: Visit, path: str, others: Sequence[Visit]) -> Op:
        for other in others:
            other.over = True
        ends = tuple(other.label for other in others)
        return self._ask(Kind.END, visit, "POST", path, ends=ends)

    def _ask(
        self,
        kind: Kind,
        visit: Visit,
        method: str,
        path: str,
        body: str | None = None,
        intended: int | None = None,
        learn: Callable[[Op, Any], None] = lambda op, response: None,
        **about: Any,
    ) -> Op:
        """One request of a session; `about` are the fields of its record that only it has."""
        op = self._recorder.invoke(kind, visit.label, visit.user, intended, **about)
        headers = {"Cookie": visit.cookie} if visit.pinned else {}
        if body is not None:
            headers |= JSON
        return self._send(op, method, path, body, headers, self._expect(visit, learn))

    def _send(
        self,
        op: Op,
        method: str,
        path: str,
        body: str | None,
        headers: dict[str, str],
        examine: Callable[[Op, Any], bool],
    ) -> Op:
        """Send, read the answer, record. `examine` says whether the outcome was a proper one."""
        try:
            with self._http.request(
                method, path, name=str(op.kind), data=body, headers=headers, catch_response=True
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

    def _expect(self, visit: Visit, learn: Callable[[Op, Any], None]) -> Callable[[Op, Any], bool]:
        def examine(op: Op, response: Any) -> bool:
            sent = response.request.headers.get("Cookie") if response.request else None
            if sent != visit.cookie and not visit.over:
                self._recorder.cookies_withheld += 1
                op.outcome, op.why = Outcome.FAIL, "session cookie not sent"
            if op.outcome is Outcome.OK:
                learn(op, response)
            proper = op.outcome in (Outcome.OK, Outcome.CONFLICT)
            return proper or (op.outcome is Outcome.DENIED and visit.over)

        return examine


def _take_cookie(given: list[str]) -> Callable[[Op, Any], bool]:
    """Puts the cookie of a login's answer into `given`."""

    def examine(op: Op, response: Any) -> bool:
        if op.outcome is Outcome.OK:
            given.append(given_cookie(response.headers))
            op.cookie = fingerprint(given[0]) if given[0] else None
            if not given[0]:
                op.outcome, op.why = Outcome.FAIL, "login gave no cookie"
        return op.outcome is Outcome.OK

    return examine


def _find_current(listed: list[str]) -> Callable[[Op, Any], None]:
    """Puts the device that a listing calls the current one into `listed`."""

    def learn(op: Op, response: Any) -> None:
        try:
            devices = json.loads(response.content)["devices"]
            listed.extend(device["ref"] for device in devices if device["current"])
        except (ValueError, KeyError, TypeError):
            pass
        if len(listed) != 1:
            op.outcome, op.why = Outcome.FAIL, "the list has no current device"

    return learn
