"""What the containers write to their logs."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx

from app.settings import COOKIE_NAME
from tests.compose.stack import SERVICES, Stack, until


def of_request(stack: Stack, request_id: str) -> list[dict[str, Any]]:
    """The lines of nginx's log about one request; it logs after it has answered."""
    lines = [json.loads(line) for line in stack.logs("nginx")[0].splitlines()]
    return [line for line in lines if line["request_id"] == request_id]


def test_access_log_is_json(stack: Stack, browser: httpx.Client) -> None:
    """nginx writes one JSON object a request, found by the id that the answer carried."""
    request_id = browser.get("/api/session?secret=1").headers["x-request-id"]
    (entry,) = until(10, lambda: of_request(stack, request_id))
    assert (entry["method"], entry["path"], entry["status"]) == ("GET", "/api/session", 200)
    assert entry["upstream"].rpartition(":")[2] in {"8001", "8002", "8003", "8004"}


def test_no_session_id_in_any_log(stack: Stack, browser: httpx.Client) -> None:
    """Neither the cookie nor the id inside it, nor the password, is in the output of any container."""
    browser.get("/")
    cookie = browser.cookies[COOKIE_NAME].strip('"')
    encoded = cookie.split("|")[4].partition(":")[2]
    browser.post("/logout")
    until(10, lambda: '"path":"/logout"' in stack.logs("nginx")[0])
    written = "".join("".join(stack.logs(service)) for service in SERVICES)
    for secret in (cookie, encoded, base64.b64decode(encoded).decode(), "password=demo"):
        assert secret not in written


def test_security_log(stack: Stack) -> None:
    """Who did what is in a file of the volume, which outlives the container, and holds no session id."""
    with stack.visitor("name-of-this-test") as browser:
        cookie = browser.cookies[COOKIE_NAME].strip('"')
        browser.post("/logout")
    read = "cat /var/lib/stack/logs/security.log; stat -c %a /var/lib/stack/logs/security.log"
    *lines, mode = stack.shell("app", read).splitlines()
    written = [json.loads(line) for line in lines]
    told = [line["event"] for line in written if line.get("user") == "name-of-this-test"]
    assert told == ["login_accepted", "logout"]
    assert {line["event"] for line in written} >= {"start"}
    assert mode == "600"
    assert base64.b64decode(cookie.split("|")[4].partition(":")[2]).decode() not in "".join(lines)
    mounts = stack.container("app")["Mounts"]
    assert [m["Type"] for m in mounts if m["Destination"] == "/var/lib/stack"] == ["volume"]


def test_logs_are_rotated(stack: Stack) -> None:
    """Each container's log is bounded: three files of 10 MB."""
    for service in SERVICES:
        config = stack.container(service)["HostConfig"]["LogConfig"]["Config"]
        assert config == {"max-size": "10m", "max-file": "3"}
