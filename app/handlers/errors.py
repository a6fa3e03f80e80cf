"""What a failure means to a visitor: its status and its sentence, and its line in the log."""

from __future__ import annotations

import logging
import re

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from app.accounts import AccountsBusy
from app.sessions import (
    NotAnInteger,
    NotPlainJson,
    SessionConflict,
    SessionTooLarge,
    StoreUnavailable,
)


class PageTooLate(Exception):
    """A page took longer than PAGE_SECONDS: its visitor is told so, and it is not run again."""


_STATUS_OF: dict[type, int] = {
    PageTooLate: 504,
    StoreUnavailable: 503,
    AccountsBusy: 503,
    SessionConflict: 409,
    SessionTooLarge: 413,
    NotAnInteger: 400,
    NotPlainJson: 400,
}
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_TEXTS = {
    400: "This request cannot be read.",
    403: "This request came from another site and was refused.",
    404: "There is nothing at this address.",
    405: "This address does not support that method.",
    413: "The request is larger than this site accepts.",
    504: "This page took too long and was stopped. What you sent may or may not have been carried out.",
}

log = logging.getLogger("app")


def status_of(error: BaseException | None, otherwise: int) -> int:
    """The status that an exception of the engine means, or `otherwise`."""
    return next((s for kind, s in _STATUS_OF.items() if isinstance(error, kind)), otherwise)


def explain(status: int, error: BaseException | None, *, has_cookie: bool) -> str:
    """What a visitor can make use of; the inner workings stay in the log."""
    if isinstance(error, HTTPError) and error.reason:
        return str(error.reason)
    if isinstance(error, AccountsBusy):
        return "Too many people are logging in at this moment. Try again in a second."
    if isinstance(error, StoreUnavailable):
        still = " You are still logged in." if has_cookie else ""
        return f"The session store is not answering.{still} Try again in a moment."
    if isinstance(error, tuple(_STATUS_OF)) and status < 500:
        return str(error)
    return _TEXTS.get(status, "This request could not be answered.")


def trace_id_of(request: HTTPServerRequest) -> str:
    """The trace that the request belongs to, by its `traceparent` (W3C Trace Context); empty without one."""
    found = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return found[1] if found else ""


def log_error(request: HTTPServerRequest, error: BaseException | None, request_id: str) -> None:
    """One line for what has a contract, the trace for what has none; never a body or a cookie."""
    about = {"request_id": request_id, "trace_id": trace_id_of(request)}
    if isinstance(error, StoreUnavailable):
        log.warning("no session store: %s", error, extra=about)
    elif isinstance(error, PageTooLate):
        log.warning(
            "%s %s took longer than PAGE_SECONDS", request.method, request.path, extra=about
        )
    elif not isinstance(error, (HTTPError, *_STATUS_OF)):
        failed = f"{request.method} {request.path} failed"
        log.error("%s", failed, exc_info=error, extra=about)
