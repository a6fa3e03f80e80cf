"""What every handler shares: who answers, whose session it is, and how answers look.

A session is loaded before the handler runs and saved before it answers, never after: the visitor's
next request may reach another worker before this one has done anything more.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import secrets
from asyncio import Future, ensure_future
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import ujson
from tornado.web import HTTPError, RequestHandler

from app.accounts import Accounts
from app.audit import Audit, asking
from app.cookie import SessionCookie
from app.events.hub import Hub
from app.handlers.errors import PageTooLate, explain, log_error, status_of, trace_id_of
from app.metrics import Metrics
from app.sessions import RedisSessions, Session, StoreUnavailable
from app.settings import Settings
from app.throttle import Throttle

RETRY_AFTER_SECONDS = 1
AGAIN_SECONDS = 3  # between two tries of a 503 page
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)

log = logging.getLogger("app")


@dataclass
class Worker:
    """This process: `name` is what X-Served-By says, `boot` changes with every start.

    `pages` are the requests being answered, the oldest first, each with its begin by `clock`.
    """

    name: str
    boot: str
    served_by: bool = True  # whether visitors are told
    note_progress: Callable[[], None] = lambda: None  # called with each answer; see app/watched.py
    ready: bool = False
    waits_for: str = ""  # why it is not ready yet
    pages: dict[BaseHandler, float] = field(default_factory=dict)
    clock: float = 0  # seconds in which the event loop was free; see app/deadline.py

    @property
    def in_flight(self) -> int:
        return len(self.pages)

    @property
    def shown(self) -> dict[str, str]:
        """Who answers, in the body of an answer; with SERVED_BY=0 both are empty."""
        named = self.served_by
        return {"worker": self.name if named else "", "boot": self.boot if named else ""}


@dataclass(frozen=True)
class Services:
    """What handlers are given instead of globals; app/web.py passes it once, to the application."""

    worker: Worker
    settings: Settings
    sessions: RedisSessions
    cookie: SessionCookie
    accounts: Accounts
    hub: Hub
    throttle: Throttle
    metrics: Metrics
    audit: Audit
    strict: bool = False  # tests: an answer with unsaved changes is an error, not a log line


class BaseHandler(RequestHandler):
    """Loads no session; a subclass says whether it needs one through `session_use`."""

    session_use = "none"  # "none" | "if given" | "required"
    touches = True  # whether a request keeps the session alive; what a page asks by itself does not
    # How old the login may be, in seconds, before the password is asked for again; None: as old as the session.
    password_within_seconds: float | None = None
    answers_json = False
    is_counted = True  # in the worker's figures; probes are not
    # The largest request that a handler takes; one with a larger form has its own.  What is larger than that of
    # all handlers is refused before it is parsed (app/web.py), and nginx has its client_max_body_size.
    form_fields = 20
    takes_files = False
    body_bytes = 64 * 1024
    methods: tuple[str, ...] = ()  # those that this page answers

    def __init_subclass__(cls) -> None:
        missing = RequestHandler.get
        found = [m for m in cls.SUPPORTED_METHODS if getattr(cls, m.lower()) is not missing]
        if "methods" not in vars(cls):
            cls.methods = tuple(m for m in found if m != "HEAD" or "GET" in found)

    @property
    def services(self) -> Services:
        services: Services = self.application.settings["services"]
        return services

    def initialize(self) -> None:
        self.session: Session | None = None
        self.task: asyncio.Task[Any] | None = None
        self.is_late = False
        # Not in prepare(), which a refused cross-site form never reaches, while on_finish() runs for it.
        worker = self.services.worker
        worker.pages[self] = worker.clock

    def set_default_headers(self) -> None:
        """Also runs before error answers, so that each names its worker and request."""
        self.clear_header("Server")
        self.request_id = self._request_id()
        self.set_header("X-Request-ID", self.request_id)
        if self.services.worker.served_by:
            self.set_header("X-Served-By", self.services.worker.name)

    def _request_id(self) -> str:
        """nginx's id for the request, so that both logs can be joined; our own without nginx."""
        given = self.request.headers.get("X-Request-ID", "")
        return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)

    async def head(self, *words: str) -> None:
        """Answered wherever GET is: as GET, and Tornado leaves the body out."""
        answered = self.get(*words)
        if inspect.isawaitable(answered):
            await answered

    async def prepare(self) -> None:
        self.task = asyncio.current_task()
        asking.set(self)  # each request is a task, and has a context of its own
        if self.request.method not in self.methods:
            raise HTTPError(405)
        self._refuse_downgrade()
        self._refuse_large_forms()
        if self.session_use == "none":
            return
        self.set_header("Cache-Control", "no-store")
        self.set_header("Vary", "Cookie")
        self.session = await self.load_session()
        if self.session_use == "required" and not self.logged_in:
            self.answer_anonymous()
        elif self.session_use == "required" and not self.gave_password_lately:
            self.ask_password()

    def _refuse_downgrade(self) -> None:
        """Refuse a form that an http page sends to https: anybody on the way may have written that page.

        Tornado has compared Origin with Host before this; where both ports are the standard ones, only
        the scheme differs.
        """
        if self.request.method in ("GET", "HEAD", "OPTIONS") or self.request.protocol != "https":
            return
        if self.request.headers.get("Origin", "").lower().startswith("http:"):
            self._note_cross_site()
            raise HTTPError(403)

    def _note_cross_site(self) -> None:
        origin = self.request.headers.get("Origin", "")
        self.services.audit.write("cross_site_refused", self, origin=origin, path=self.request.path)

    def _refuse_large_forms(self) -> None:
        """Refuse what another handler would take and this one does not."""
        if not self.request.body:
            return
        if len(self.request.body) > self.body_bytes:
            raise HTTPError(413)
        fields = sum(map(len, self.request.body_arguments.values()))
        if fields > self.form_fields or (self.request.files and not self.takes_files):
            raise HTTPError(400)

    def on_finish(self) -> None:
        self.services.worker.pages.pop(self, None)
        if self.is_counted:
            request = self.request
            self.services.metrics.answered(
                type(self), request.method, self.get_status(), request.request_time()
            )

    async def load_session(self) -> Session | None:
        """The visitor's session, or None for an anonymous one; costs nothing without a cookie."""
        for session_id in self.services.cookie.ids(self, self._note_forged):
            session = await self.services.sessions.load(session_id, touch=self.touches)
            if session is not None:
                return session
        return None

    def _note_forged(self) -> None:
        self.services.audit.write("cookie_forged", self, path=self.request.path)

    @property
    def logged_in(self) -> bool:
        """Whether the session is somebody's; one that began before a login is nobody's."""
        return self.session is not None and not self.session.anonymous

    @property
    def visitor(self) -> Session:
        """The session of a handler that requires one."""
        assert self.session is not None, "session_use is not 'required'"
        return self.session

    @property
    def gave_password_lately(self) -> bool:
        """Whether the session began within `password_within_seconds`: only a password begins one.

        When it began is a field of the engine's own, which the data of a session cannot reach.
        """
        if self.password_within_seconds is None:
            return True
        times = self.visitor.times
        return times.now - times.created <= self.password_within_seconds

    def ask_password(self) -> None:
        """Send the visitor to give the password again, and then back here (ASVS 5.0 7.5.2)."""
        if self.answers_json:
            self.answer_json(403, {"error": "give your password again first, at /login?again=1"})
            return
        here = self.request.uri if self.request.method in ("GET", "HEAD") else self.request.path
        self.redirect("/login?" + urlencode({"again": 1, "next": here}))

    def answer_anonymous(self) -> None:
        """Send a visitor without a session to log in and then back here.  The cookie is left alone."""
        if self.answers_json:
            self.answer_json(401, {"error": "not logged in"})
            return
        here = self.request.uri if self.request.method in ("GET", "HEAD") else "/"
        self.redirect("/login?" + urlencode({"next": here}))

    def answer_json(self, status: int, body: dict[str, Any]) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        text = ujson.dumps(body, allow_nan=False, escape_forward_slashes=False)
        self.finish(f"{text}\n")  # a terminal shows its prompt on a line of its own

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Future[None]:
        """Answer.  Unsaved session changes here are a bug of the handler: they would be lost."""
        if self.is_late and self.get_status() < 500 and not self._headers_written:
            raise PageTooLate
        session = self.session
        if (
            session is not None
            and not session.ended
            and self.get_status() < 400
            and session.changed
        ):
            message = f"{type(self).__name__} answered with unsaved session changes"
            if self.services.strict:
                raise AssertionError(message)
            about = {"request_id": self.request_id, "trace_id": trace_id_of(self.request)}
            log.error("%s", message, extra=about)
        if not self.services.worker.ready:
            # no_keep_alive of a drain spares requests that began before it; nginx must not keep theirs.
            self.set_header("Connection", "close")
        if session is None or not session.renewal_due or self.get_status() >= 500 or self._finished:
            return super().finish(chunk)
        if chunk is not None:
            self.write(chunk)
        # So it is for the handler, and for Tornado, which would finish it now.
        self._finished = True
        return ensure_future(self._finish_renewing(session))

    async def _finish_renewing(self, session: Session) -> None:
        """Answer with the session's new id, asked for as late as can be: a login or logout may have
        ended the session while this request ran, and its cookie would then undo theirs."""
        new_id = await self.services.sessions.renew(session)
        if new_id is not None:
            lasting = session.times.absolute_expires_in if session.lasting else None
            self.services.cookie.write(self, new_id, lasting)
        self._finished = False
        super().finish()

    def end_late_page(self) -> None:
        """Answer 504 and cancel what the handler waits for; one that has begun its answer goes on."""
        if self._headers_written or self._finished:
            return
        error = PageTooLate()
        log_error(self.request, error, self.request_id)
        self.send_error(exc_info=(PageTooLate, error, None))
        if self.task is not None:
            self.task.cancel()

    def compute_etag(self) -> None:
        """No hashing of each answer: pages are personal and never cached."""

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Give the engine's exceptions the status they mean; anything unknown stays a 500."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        super().send_error(status_of(error, status_code), **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        text = explain(status_code, error, has_cookie=self.services.cookie.read(self) is not None)
        body: dict[str, Any] = {"error": text, "request_id": self.request_id}
        if status_code == 503:
            self.set_header("Retry-After", str(RETRY_AFTER_SECONDS))
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.methods))
        if isinstance(error, StoreUnavailable):
            body["may_have_happened"] = error.may_have_happened
        elif isinstance(error, PageTooLate):
            body["may_have_happened"] = True
        self.set_header("Cache-Control", "no-store")
        self.set_header("Vary", "Cookie")
        if self.answers_json:
            self.answer_json(status_code, body)
        else:
            self.render(
                "error.html",
                status=status_code,
                title=HTTPStatus(status_code).phrase,
                text=text,
                request_id=self.request_id,
                again=AGAIN_SECONDS if status_code == 503 else None,
            )

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if self.task is None and isinstance(value, HTTPError) and value.status_code == 403:
            self._note_cross_site()  # refused by Tornado, before prepare()
        log_error(self.request, value, self.request_id)


class NotFound(BaseHandler):
    """Any path without a route; JSON under /api/."""

    methods = RequestHandler.SUPPORTED_METHODS

    async def prepare(self) -> None:
        self.answers_json = self.request.path.startswith("/api/")
        await super().prepare()
        self.send_error(404)
