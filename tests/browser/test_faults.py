"""The pages while something is broken or ends: the pub/sub link, Redis, a worker, a session's time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from deploy.native.scratch import Scratch, scratch_stack
from lab.testbed.servers import RedisServer
from lab.testbed.workers import ROOT, SECRET, clean_environment
from tests.browser.steps import SOON_MS, OpenPage, listening, log_in, second_tab
from tests.conftest import UPSTREAM
from tests.stack.processes import pid_listening, supervisord_pid

pytestmark = pytest.mark.native
TOO_LATE_MS = 2000

# Keeps what the panel says: the moment between two workers may be shorter than a look at the page.
KEEP_STATES = """() => {
  const panel = document.querySelector("#live-state");
  window.states = [];
  new MutationObserver(() => states.push(panel.textContent)).observe(panel, { childList: true });
}"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that these tests may break, and mend before they end."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def own(redis: RedisServer) -> Iterator[Scratch]:
    """A stack over that Redis.  No heartbeat comes while a test runs: what is noticed, pub/sub has told."""
    settings = {"REDIS_URL": redis.url, "EVENTS_HEARTBEAT_SECONDS": "600"}
    with scratch_stack(UPSTREAM, os.environ, **settings) as stack:
        yield stack


def test_pubsub_cut(open_page: OpenPage, own: Scratch, redis: RedisServer) -> None:
    """With the pub/sub link cut the page says so, and the other tab does not notice a logout until it is mended."""
    here = open_page(base_url=own.url)
    log_in(here, "Cut")
    there = second_tab(listening(here))
    redis.admin.execute_command("ACL", "SETUSER", "default", "-subscribe")
    redis.admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    expect(here.locator("#live-state")).to_contain_text("arrive late", timeout=SOON_MS)
    here.get_by_role("button", name="Log out").click()
    expect(here.get_by_role("heading", name="Log in")).to_be_visible()
    there.wait_for_timeout(TOO_LATE_MS)
    assert "/login" not in there.url
    redis.admin.execute_command("ACL", "SETUSER", "default", "+subscribe")
    there.wait_for_url("**/login?ended=ended&*", timeout=2 * SOON_MS)


def test_ended_by_an_administrator(open_page: OpenPage, own: Scratch, redis: RedisServer) -> None:
    """`python -m app.end_sessions NAME` takes the user's open pages to the login page, which says why."""
    page = open_page(base_url=own.url)
    log_in(page, "Suspect")
    listening(page)
    settings = clean_environment(REDIS_URL=redis.url, SESSION_SECRETS=SECRET)
    command = [sys.executable, "-m", "app.end_sessions", "Suspect"]
    subprocess.run(command, env=settings, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    page.wait_for_url("**/login?ended=administrator&*", timeout=SOON_MS)
    expect(page.get_by_role("status")).to_contain_text("administrator has ended")


def test_redis_away(open_page: OpenPage, own: Scratch, redis: RedisServer, problems: Any) -> None:
    """While Redis is away a page says 503, tries again by itself, and is there when Redis is."""
    page = open_page(base_url=own.url)
    log_in(page, "Patient")
    redis.freeze()
    try:
        page.goto("/devices")
        expect(page.get_by_role("heading", name="Service Unavailable")).to_be_visible()
        expect(page.get_by_text("tries again by itself")).to_be_visible()
    finally:
        redis.thaw()
    expect(page.get_by_role("heading", name="Your devices")).to_be_visible(timeout=15_000)
    problems.expect("503")


def test_a_worker_drains(open_page: OpenPage, own: Scratch) -> None:
    """When the worker that holds the stream is stopped, another one takes over, and news goes on."""
    page = open_page(base_url=own.url)
    log_in(page, "Mover")
    holder = page.locator("#live-state .id")
    listening(page)
    worker = holder.inner_text()
    page.evaluate(KEEP_STATES)
    port = int(worker.rpartition(":")[2])
    os.kill(pid_listening(supervisord_pid(own), port, own), signal.SIGTERM)
    expect(holder).not_to_have_text(re.compile(f"^({re.escape(worker)})?$"))
    listening(page)
    assert page.evaluate("states[0]") == "This stream ends; the page opens another one."
    page.context.request.post("/api/visits", data={"op": "after"})
    expect(page.locator(".facts [data-field=visits]")).to_have_text("1", timeout=SOON_MS)


@pytest.mark.long
def test_expiry(open_page: OpenPage) -> None:
    """When nobody uses the page the session expires, and the page goes to the login and says why."""
    with scratch_stack(UPSTREAM, os.environ, SESSION_IDLE_SECONDS="3") as stack:
        page = open_page(base_url=stack.url)
        log_in(page, "Sleeper")
        page.wait_for_url("**/login?ended=expired&*", timeout=3000 + SOON_MS)
        expect(page.get_by_role("status")).to_contain_text("not used for a while")
