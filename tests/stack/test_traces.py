"""One request in all logs: the id and the trace that nginx, the worker, its span and an error of Redis share."""

from __future__ import annotations

import json
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.paths import ROOT
from lab.testbed.servers import RedisServer, wait_until
from tests.conftest import StartStack
from tests.documents import blocks, sections
from tests.stack.visitor import Visitor, new_visitor

pytestmark = [pytest.mark.native, pytest.mark.long]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPANS = {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_SCHEDULE_DELAY": "100"}
GIVEN = f"00-{TRACE}-00f067aa0ba902b7-01"


def joined(state: Path, request_id: str) -> list[dict[str, Any]]:
    """What docs/watch.md's command finds of one request."""
    page = sections((ROOT / "docs/watch.md").read_text())["One request in all logs"]
    (command,) = [block.text for block in blocks(page) if block.mark == "sh"]
    command = command.replace("REQUEST_ID", request_id).replace(".stack", str(state))
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in said.stdout.splitlines()]


def is_whole(state: Path, request_id: str) -> bool:
    """Whether nginx's line, the worker's and the span are there."""
    return len(joined(state, request_id)) == 3


def by_kind(lines: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The one line that has this field."""
    (found,) = [line for line in lines if name in line]
    return found


def failed(visitor: Visitor, **headers: str) -> str:
    """The id of a request that Redis did not answer."""
    answer = visitor.get("/api/session", headers=headers)
    assert answer.status_code == 503
    return answer.headers["X-Request-ID"]


def test_one_request_in_all_logs(start_stack: StartStack, tmp_path: Path) -> None:
    """The documented command joins nginx's line, the error of Redis and the span, which all have the visitor's trace, or
    a new one; the span's parent is nginx's."""
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        stack = start_stack(REDIS_URL=redis.url, **SPANS)
        with new_visitor(stack.url) as member:
            member.log_in()
            redis.freeze()
            given = failed(member, traceparent=GIVEN)
            wrong = failed(member, traceparent=f"{GIVEN};evil")
            for one in (given, wrong):
                wait_until(partial(is_whole, stack.state, one), seconds=10, what="three lines")
            redis.thaw()
        found = [joined(stack.state, one) for one in (given, wrong)]
    finally:
        redis.stop()

    for request_id, lines in zip((given, wrong), found, strict=True):
        nginx, worker, span = (
            by_kind(lines, name) for name in ("upstream", "message", "parent_id")
        )
        trace = TRACE if request_id == given else request_id
        assert nginx["status"] == 503
        assert re.fullmatch(rf"00-{trace}-[0-9a-f]{{16}}-01", nginx["traceparent"])
        assert worker["trace_id"] == trace
        assert worker["message"].startswith("no session store: no answer from Redis")
        assert span["context"]["trace_id"] == f"0x{trace}"
        assert span["parent_id"] == f"0x{nginx['traceparent'].split('-')[2]}"
