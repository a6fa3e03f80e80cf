"""One browser: a cookie jar, up to six connections, and the requests a visitor makes with it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from json import loads
from typing import Any
from urllib.parse import quote, urlencode

import gevent
from locust.contrib.fasthttp import FastHttpSession
from locust.env import Environment

from loadtest.check.op import Kind, Lifetimes, Op, Outcome
from loadtest.load.answers import (
    AGENTS,
    fingerprint,
    given_cookies,
    named_by,
    read_answer,
    read_cookie,
    read_error,
    shorten,
)
from loadtest.load.recorder import Recorder

CONNECTIONS = 6  # what browsers open to one host over HTTP/1.1
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
REPEATS = 3  # of a visit that may have happened
REPEAT_SECONDS = 0.5


@dataclass(slots=True)
class Session:
    """One logged-in session as its browser knows it."""

    label: str
    user: str
    # name=value; the last one is sent, the others are what it was before a renewal.
    cookies: list[str]
    begun: int  # when the login was sent, on the monotonic clock
    used: int  # when the last request was sent that was answered
    visits: int = 0
    # By field.
    written: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    over: bool = False  # it has been asked to end: "not logged in" is then a proper answer
    pinned: bool = False  # its cookie is written out, as the jar may hold another one by now

    @property
    def cookie(self) -> str:
        """The one to send."""
        return self.cookies[-1]

    @property
    def cookie_name(self) -> str:
        """The name of the stack's session cookie."""
        return self.cookie.partition("=")[0]

    def may_have_expired(self, moment: int, lifetimes: Lifetimes) -> bool:
        """Whether a timeout may have ended it by then."""
        absolute = self.begun + (lifetimes.absolute_seconds - lifetimes.slack_seconds) * 1e9
        return moment > min(absolute, self.used + lifetimes.sure_seconds * 1e9)


class LoginFailed(Exception):
    """The login did not give a session; it has been recorded as a failure."""


class Browser:
    """Sends requests and records each. Several greenlets may use one browser at a time."""

    made = 0
    answer_seconds = 15.0

    def __init__(self, environment: Environment, recorder: Recorder, host: str) -> None:
        Browser.made += 1
        self.agent = f"{AGENTS}{recorder.prefix}{Browser.made}"  # by which a list knows it
        self._recorder = recorder
        self._http = FastHttpSession(
            base_url=host,
            request_event=environment.events.request,
            user=None,
            insecure=True,
            concurrency=CONNECTIONS,
            connection_timeout=5.0,
            network_timeout=self.answer_seconds,
            max_retries=0,
            # Every answer is looked at as it comes. Locust's allow_redirects=False would do that by
            # switching an attribute that the parallel requests of one browser share.
            max_redirects=0,
        )

    def login(
        self,
        user: str,
        password: str,
        replacing: Session | None = None,
        ends: Sequence[Session] = (),
    ) -> Session:
        """Log in, over the session that the jar still holds if there is one.

        `ends`: what a cap on sessions ends with that.
        """
        op = self._recorder.invoke(
            Kind.LOGIN,
            self._recorder.new_session(),
            user,
            replaces=replacing.label if replacing else None,
            ends=tuple(session.label for session in ends) or None,
        )
        for session in (*([replacing] if replacing else ()), *ends):
            session.over = True
        given: list[str] = []
        headers = {"Cookie": replacing.cookie} if replacing and replacing.pinned else {}
        self._send(op, "POST", "/login", _form(user, password), FORM | headers, _take_cookie(given))
        if op.outcome is not Outcome.OK:
            raise LoginFailed(op.why)
        return Session(op.session, user, given, op.invoked, op.invoked)

    def fail_to_log_in(self, user: str, password: str, session: Session | None = None) -> Op:
        """Log in with a wrong password, as a stranger or in the browser of a session, which lives on."""
        label = session.label if session else self._recorder.new_session()
        op = self._recorder.invoke(Kind.WRONG, label, user)
        headers = {"Cookie": session.cookie} if session else {}
        examine = self._expect_refusal(session)
        return self._send(op, "POST", "/login", _form(user, password), FORM | headers, examine)

    def stray(self, method: str, path: str, cookie: str = "", body: str | None = None) -> Op:
        """A request with no cookie, or with one that was never given out: it is to be refused."""
        op = self._recorder.invoke(
            Kind.STRANGER, self._recorder.new_session(), "nobody", why=f"{method} {path}"
        )
        headers = ({"Cookie": cookie} if cookie else {}) | (JSON if body is not None else {})
        return self._send(op, method, path, body, headers, self._expect_refusal(None))

    def logout(self, session: Session) -> Op:
        """End the session."""
        session.over = True
        return self._ask(Kind.LOGOUT, session, "POST", "/logout")

    def page(self, session: Session, intended: int | None = None) -> Op:
        """Open the main page."""
        return self._ask(Kind.PAGE, session, "GET", "/", intended=intended)

    def read(self, session: Session, intended: int | None = None) -> Op:
        """Ask for the session."""
        return self._ask(Kind.READ, session, "GET", "/api/session", intended=intended)

    def visit(self, session: Session, intended: int | None = None) -> Op:
        """Raise the visit counter by one, under an operation id of our own.

        One that may have happened is sent again until an answer says that it has.
        """
        session.visits += 1
        name = f"visit-{session.visits}"  # in each session the same: they must not be mixed up
        op = self._visit(Kind.VISIT, session, name, intended)
        for _ in range(REPEATS):
            if op.outcome is not Outcome.UNKNOWN:
                break
            gevent.sleep(REPEAT_SECONDS)
            op = self._visit(Kind.REPEAT, session, name)
        return op

    def repeat(self, session: Session, before: int = 0) -> Op:
        """Send the last visit, or one `before` it, once more under its id: nothing is to happen."""
        return self._visit(Kind.REPEAT, session, f"visit-{session.visits - before}")

    def add(self, session: Session, key: str) -> Op:
        """Raise a field by one: the stack reads, changes and writes it."""
        path = f"{_field(key)}/add"
        return self._ask(Kind.ADD, session, "POST", path, body='{"by":1}', key=key)

    def count(self, session: Session, key: str) -> Op:
        """Ask where such a field stands."""
        return self._ask(Kind.COUNT, session, "GET", _field(key), key=key)

    def put(self, session: Session, key: str, text: str) -> Op:
        """Write a value, as JSON text, into a field that has no other writer and never had this value."""
        sent, path = shorten(loads(text)), _field(key)
        written = session.written[key]
        assert sent not in written, "a value that was there before could not be told from it"
        written.append(sent)
        place = len(written)

        def learn(op: Op, response: Any) -> None:
            op.value = place

        return self._ask(Kind.PUT, session, "PUT", path, body=text, key=key, sent=sent, learn=learn)

    def get(self, session: Session, key: str) -> Op:
        """Ask for a field that was put."""
        written = session.written[key]

        def learn(op: Op, response: Any) -> None:
            if op.got is None:
                op.value = 0
            elif op.got in written:
                op.value = written.index(op.got) + 1

        return self._ask(Kind.GET, session, "GET", _field(key), key=key, learn=learn)

    def delete(self, session: Session, key: str) -> Op:
        """Delete a field that nobody will write again."""
        return self._ask(Kind.DELETE, session, "DELETE", _field(key), key=key)

    def devices(self, session: Session) -> str | None:
        """List the user's sessions; returns the name under which this one can be ended."""

        def learn(op: Op, response: Any) -> None:
            op.named = named_by(response.json()["devices"], self.agent)

        op = self._ask(Kind.DEVICES, session, "GET", "/api/devices", learn=learn)
        return op.ref if op.ref in (op.refs or ()) else None

    def devices_page(self, session: Session) -> Op:
        """The same list as a page."""
        return self._ask(Kind.DEVICES, session, "GET", "/devices")

    def end(self, session: Session, path: str, ended: Sequence[Session]) -> Op:
        """End sessions of the same user: /devices/<ref>/end, /devices/end-others or /devices/end-all."""
        for other in ended:
            other.over = True
        ends = tuple(other.label for other in ended)
        return self._ask(Kind.END, session, "POST", path, ends=ends)

    def slow_write(self, session: Session, milliseconds: int) -> Op:
        """A request that writes the session after a while, whatever happens meanwhile."""
        path = f"/slow?ms={milliseconds}&kind=wait&write=slow"
        return self._ask(Kind.SLOW, session, "GET", path)

    def probe(self, session: Session, cookie: str = "") -> Op:
        """Ask for the session with a cookie of it; it should be over."""
        session.pinned = True
        return self._ask(Kind.PROBE, session, "GET", "/api/session", cookie=cookie)

    def close(self, session: Session) -> None:
        """Nothing will be written to the session any more: let the checker close its account."""
        self._recorder.checker.close(session.label)

    def _visit(self, kind: Kind, session: Session, name: str, intended: int | None = None) -> Op:
        body = f'{{"op":"{name}"}}'
        return self._ask(
            kind, session, "POST", "/api/visits", body=body, intended=intended, op=name
        )

    def _ask(
        self,
        kind: Kind,
        session: Session,
        method: str,
        path: str,
        *,
        body: str | None = None,
        intended: int | None = None,
        cookie: str = "",
        learn: Callable[[Op, Any], None] = lambda op, response: None,
        **about: Any,
    ) -> Op:
        """One request of a session; `about` are the fields of its record that only it has."""
        op = self._recorder.invoke(kind, session.label, session.user, intended, **about)
        headers = {"Cookie": cookie or session.cookie} if session.pinned else {}
        if body is not None:
            headers |= JSON
        return self._send(op, method, path, body, headers, self._expect(session, learn))

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
                method,
                path,
                name=str(op.kind),
                data=body,
                headers={"User-Agent": self.agent, **headers},
                catch_response=True,
                context={"recorded": op.number},  # tells it from requests of other user classes
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

    def _expect(
        self, session: Session, learn: Callable[[Op, Any], None]
    ) -> Callable[[Op, Any], bool]:
        def examine(op: Op, response: Any) -> bool:
            sent = response.request.headers.get("Cookie") if response.request else None
            if sent not in session.cookies and not session.over:
                self._recorder.cookies_withheld += 1
                op.outcome, op.why = Outcome.FAIL, "session cookie not sent"
            self._take_renewed(op, session, response)
            if op.outcome is Outcome.OK:
                session.used = max(session.used, op.invoked)
                learn(op, response)
            if op.outcome in (Outcome.OK, Outcome.CONFLICT):
                return True
            over = session.over or session.may_have_expired(op.returned, self._recorder.lifetimes)
            return op.outcome is Outcome.DENIED and over

        return examine

    def _take_renewed(self, op: Op, session: Session, response: Any) -> None:
        """Keep a new cookie that the answer brings, unless it is somebody else's."""
        new = read_cookie(op, response.headers or {}, session.cookie_name)
        if new and new not in session.cookies and not self._recorder.checker.is_foreign(op):
            session.cookies.append(new)

    def _expect_refusal(self, session: Session | None) -> Callable[[Op, Any], bool]:
        def examine(op: Op, response: Any) -> bool:
            if session is not None:
                self._take_renewed(op, session, response)
            else:
                for given in given_cookies(response.headers or {}):
                    read_cookie(op, response.headers, given.name)
            return op.outcome is Outcome.DENIED

        return examine


def _field(key: str) -> str:
    return f"/api/data/{quote(key, safe='')}"


def _form(user: str, password: str) -> str:
    return urlencode({"username": user, "password": password, "next": "/"})


def _take_cookie(given: list[str]) -> Callable[[Op, Any], bool]:
    """Puts the cookie of a login's answer into `given`."""

    def examine(op: Op, response: Any) -> bool:
        if op.outcome is Outcome.OK:
            kept = [one.pair for one in given_cookies(response.headers) if one.kept]
            given.extend(kept[:1])
            op.cookie = fingerprint(given[0]) if given else None
            if not given:
                op.outcome, op.why = Outcome.FAIL, "login gave no cookie"
        return op.outcome is Outcome.OK

    return examine
