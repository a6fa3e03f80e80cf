"""The smallest user of Redis: the list in deploy/redis/users.acl is what is used, and what lacks is named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.sessions import (
    Limits,
    Notices,
    Pipeline,
    RedisSessions,
    StoreUnavailable,
    Subscription,
    check_rights,
)
from app.sessions.lua import WORKERS
from app.sessions.rights import commands_of
from app.throttle import SCRIPT as THROTTLE
from app.throttle import Rules, Throttle, key_of
from lab.testbed.monitor import Monitor
from lab.testbed.servers import Place, RedisServer, running
from lab.testbed.workers import Worker
from tests.integration.least_user import refusals, rules, set_user, shared_rules
from tests.integration.loading import load
from tests.integration.test_watch import Watcher

COMMANDS = sorted(rule[1:] for rule in rules() if rule.startswith("+"))
PATTERNS = sorted(rule for rule in rules() if rule[0] in "~&")
PREFIX = "shop:"
# What the connections themselves use.  CLUSTER SLOTS and ASKING are for a cluster alone, SELECT for a database
# other than 0, and WAIT where replicas acknowledge.  A connection that lacks one of these says so itself.
CONNECTION = {"EVAL", "EVALSHA", "ROLE", "SELECT", "SUBSCRIBE", "UNSUBSCRIBE", "WAIT"}
CLUSTER = {"ASKING", "CLUSTER|SLOTS"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Its user `sessions` is what each test makes it."""
    for server in running(RedisServer(tmp_path_factory.mktemp("redis"))):
        assert isinstance(server, RedisServer)
        server.url = server.url.replace("://", "://sessions@")
        yield server


def test_list_is_what_is_used() -> None:
    """The user may run the commands of the scripts and of the connections, and no other."""
    used = commands_of([*WORKERS, THROTTLE]) | CONNECTION | CLUSTER
    assert sorted(name.lower() for name in used) == COMMANDS


async def test_each_command_is_used(server: RedisServer) -> None:
    """A tour of the engine runs every command of the list, but for a cluster's, and is refused none."""
    set_user(server, rules(PREFIX))
    with Monitor(server) as seen:
        await tour(server.url.replace("/0", "/1"))
    names = {one.name.lower() for one in seen.commands} - {"acl", "auth"}
    assert sorted(names) == [name for name in COMMANDS if name not in ("asking", "cluster|slots")]
    assert refusals(server) == []


async def tour(url: str) -> None:
    """What workers do, in short: with a prefix, and in another database."""
    pipeline = Pipeline(url, timeout_seconds=2)
    limits = Limits(max_per_user=2, renew_seconds=0.01, renew_grace_seconds=0.001, touch_seconds=0)
    store = RedisSessions(pipeline, limits, prefix=PREFIX)
    subscription = Subscription(url, timeout_seconds=2)
    notices = Notices(pipeline, subscription, field="n", heartbeat_seconds=60, prefix=PREFIX)
    listening = asyncio.create_task(notices.run())
    begun = asyncio.Event()
    notices.subscribe("alerts", lambda message: None, begun.set)
    await rights(pipeline)
    session_id = await store.create("ann", {"flash": 1, "old": 2})
    session = await load(store, session_id)
    session["new"] = 1
    del session["old"]
    await store.save(session)
    for _ in range(2):
        await store.increment(session, "n", operation="x")
    await store.pop(session, "flash")
    await asyncio.sleep(0.02)
    session = await load(store, session_id)
    successor = await store.renew(session)
    await load(store, successor or "")
    await asyncio.wait_for(begun.wait(), 5)
    await notices.publish(session, "alerts", "hello")
    watcher = Watcher()
    notices.watch(session, 0, watcher)
    notices.unwatch(watcher)
    for _ in range(3):
        session_id = await store.create("ann", replacing=session, keep=["new"])
        session = await load(store, session_id)
    await store.devices("ann")
    await store.end_all("ann")
    throttle = Throttle(pipeline, Rules(free_failures=1, first_delay_seconds=0.05), PREFIX)
    for address in ("192.0.2.7", "198.51.100.9", "203.0.113.1"):
        attempt = throttle.attempt("ann", address, None)
        await attempt.wait()
        await attempt.failed()
    await asyncio.sleep(0.1)
    await throttle.attempt("ann", "203.0.113.1", None).wait()
    await throttle.attempt("ann", "192.0.2.7", None).succeeded()
    listening.cancel()
    await pipeline.close()
    promising = Pipeline(url, timeout_seconds=0.5, acknowledged_by=1)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await RedisSessions(promising, prefix=PREFIX).create("ann")
    await promising.close()


async def rights(pipeline: Pipeline, prefix: str = PREFIX) -> None:
    """As a worker asks."""
    await check_rights(
        pipeline,
        prefix=prefix,
        others=[THROTTLE],
        keys=[key_of("-", prefix)],
        channels=[f"{prefix}alerts"],
    )


@pytest.mark.parametrize("without", [*(f"+{name}" for name in COMMANDS), *PATTERNS])
async def test_missing_right_is_named(
    server: RedisServer, shared_cluster: Place, without: str
) -> None:
    """A user that lacks any one right, of a command, of a key or of a channel, is refused with its name."""
    of_cluster = without[1:].upper() in CLUSTER
    node = shared_cluster.nodes[0] if of_cluster else server
    url = f"redis{'+cluster' if of_cluster else ''}://sessions@127.0.0.1:{node.port}{'' if of_cluster else '/1'}"
    try:
        for each in shared_cluster.nodes if of_cluster else [server]:
            set_user(each, [rule for rule in rules() if rule != without])
        pipeline = Pipeline(url, timeout_seconds=1, acknowledged_by=0 if of_cluster else 1)
        name = without[1:].removesuffix("*")
        with pytest.raises(StoreUnavailable, match=f"(?i){re.escape(name)}") as caught:
            await rights(pipeline, "")
        assert not caught.value.may_have_happened
        await pipeline.close()
    finally:
        for each in shared_cluster.nodes if of_cluster else []:
            set_user(each, shared_rules())


def test_worker_is_not_ready(server: RedisServer, tmp_path: Path) -> None:
    """A worker whose user may not publish takes no visitors, and says why; once it may, the worker is ready."""
    set_user(server, [rule for rule in rules() if rule != "&session:*"])
    worker = Worker(tmp_path, server.url)
    worker.start()
    try:
        worker.wait_live()
        answer = httpx.get(f"{worker.url}/readyz", trust_env=False)
        assert answer.status_code == 503
        assert "PUBLISH session:" in answer.json()["waits_for"]
        assert "PUBLISH session:" in worker.log
        set_user(server, rules())
        worker.wait_ready()
        assert "waits_for" not in httpx.get(f"{worker.url}/readyz", trust_env=False).json()
    finally:
        worker.stop()
