"""Event streams through nginx: each on its worker, told of what the others do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.stack.conftest import ChangedNginx
from tests.stack.visitor import Visitor, new_visitor

SOON_SECONDS = 1.0


class Stream:
    """Reads a stream in a thread of its own; `lines` is what has arrived, each with its moment."""

    def __init__(self, visitor: Visitor) -> None:
        self.lines: list[tuple[float, str]] = []
        self.begun, self.over = threading.Event(), threading.Event()
        self._answer = visitor.stream("GET", "/events", timeout=30)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with self._answer as answer:
                self.worker = answer.headers["X-Served-By"]
                for line in answer.iter_lines():
                    self.lines.append((time.monotonic(), line))
                    self.begun.set()
        except httpx.HTTPError:
            pass  # cut off, or the test has closed its client
        self.over.set()

    def hears(self, text: str, seconds: float) -> bool:
        """Whether a line with `text` arrives within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(text in line for _, line in self.lines):
                return True
            time.sleep(0.01)
        return False


@pytest.fixture
def closing() -> Iterator[Any]:
    with ExitStack() as stack:
        yield stack.enter_context


def test_every_worker_tells(member: Visitor) -> None:
    """Four streams of one session are held by four workers; each tells of each visit, and of the end."""
    streams = [Stream(member) for _ in range(4)]
    assert all(stream.begun.wait(5) for stream in streams)
    workers = {stream.worker for stream in streams}
    counted_by = {member.visit()["worker"] for _ in range(8)}
    assert len(workers) > 1
    assert len(counted_by) > 1
    for stream in streams:
        for visits in range(1, 9):
            assert stream.hears(f'"visits":{visits},', SOON_SECONDS)
    member.post("/logout")
    assert all(stream.hears('"reason":"logout"', SOON_SECONDS) for stream in streams)


def test_anonymous(visitor: Visitor) -> None:
    """Without a session there is no stream: 401, for HEAD too."""
    assert visitor.get("/events").status_code == 401
    assert visitor.head("/events").status_code == 401
    visitor.log_in()
    answer = visitor.head("/events")
    assert (answer.status_code, answer.headers["Content-Type"]) == (
        200,
        "text/event-stream; charset=UTF-8",
    )


@pytest.mark.native
def test_silence_is_allowed(member: Visitor, changed_nginx: ChangedNginx, closing: Any) -> None:
    """A silent stream stays open; with a read timeout shorter than the heartbeat nginx would cut it."""
    url = changed_nginx("site.conf", "proxy_read_timeout 1h;", "proxy_read_timeout 500ms;")
    visitor = closing(new_visitor(url))
    visitor.log_in()
    cut, kept = Stream(visitor), Stream(member)
    assert cut.begun.wait(5)
    assert kept.begun.wait(5)
    assert cut.over.wait(5)
    assert not kept.over.is_set()
