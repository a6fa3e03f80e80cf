"""An error that nobody foresaw: its trace is for the log, and a visitor learns nothing of the inside."""

from __future__ import annotations

import json
import logging

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from app.handlers.error_pages import TEXTS
from app.handlers.errors import explain, log_error, status_of
from app.logs import JsonLines
from app.sessions import StoreUnavailable
from app.sessions.wire.calls import ScriptError

INSIDE = "redis://user:secret@10.0.0.7 refused line 12"


def failure() -> RuntimeError:
    try:
        raise RuntimeError(INSIDE)
    except RuntimeError as error:
        return error


def test_visitors_learn_nothing() -> None:
    """The text of an unknown error, or of one of the store, is not shown, and its status is 500 or 503."""
    store = StoreUnavailable(INSIDE, may_have_happened=False), ScriptError(INSIDE)
    for error, status in ((failure(), 500), *((one, 503) for one in store)):
        assert status_of(error, 500) == status
        assert "secret" not in explain(status, error, has_cookie=True)


@pytest.mark.parametrize("status", [400, 404, 405, 413, 500])
def test_workers_say_what_nginx_says(status: int) -> None:
    """An error that both may answer with has one sentence."""
    assert explain(status, None, has_cookie=False) == TEXTS[status]


def test_trace_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The log has one line with the trace and the request id."""
    line_of_it = RequestStartLine("GET", "/page?q=private", "HTTP/1.1")
    request = HTTPServerRequest(start_line=line_of_it, headers=HTTPHeaders({"Host": "x"}))
    with caplog.at_level(logging.ERROR, logger="app"):
        log_error(request, failure(), "request-of-this-test")
    (record,) = caplog.records
    line = json.loads(JsonLines("w").format(record))
    assert (line["level"], line["request_id"]) == ("error", "request-of-this-test")
    assert "in failure" in line["trace"]
    assert "private" not in json.dumps(line)
