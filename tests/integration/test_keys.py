"""The tables of Redis keys and fields in docs/architecture.md, against what a worker leaves in Redis."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from app.sessions import RedisSessions
from deploy.paths import ROOT
from lab.testbed.servers import RedisServer
from lab.testbed.workers import Worker
from tests.integration.conftest import NewVisitor, StartWorkers
from tests.integration.visitor import Visitor, new_cookie

PAGE = (ROOT / "docs/architecture.md").read_text()
KEYS = PAGE.split("\n## Keys in Redis\n", 1)[1].split("\n## ", 1)[0]


def documented_keys() -> dict[str, str]:
    """Each kind of key in the table, with its type."""
    rows = re.findall(r"^\| `(\S+:\S+)` \| ([a-z ]+) \|", KEYS, re.MULTILINE)
    return {pattern: kind.replace("sorted set", "zset") for pattern, kind in rows}


def documented_fields() -> set[str]:
    """The fields of a session in the table; `d:` stands for each that begins with it."""
    fields = KEYS.split("| field | holds |", 1)[1]
    return {
        name.partition("<")[0] for name in re.findall(r"^\| `([\w:<>]+)` \|", fields, re.MULTILINE)
    }


def kind_of(key: str) -> str:
    """The row of the table that a key of Redis belongs to, or the key itself when there is none."""
    for pattern in documented_keys():
        parts = re.split(r"\{\w+\}|<\w+>", pattern)
        if re.fullmatch(".+".join(map(re.escape, parts)), key):
            return pattern
    return key


async def use_everything(worker: Worker, visitor: Visitor) -> None:
    """A wrong password, a login, a field, a counted visit, and a renewal of the id."""
    form = {"username": "ann", "password": "wrong"}
    for _ in range(2):  # the second has to wait for its turn
        await visitor.post(worker, "/login", data=form)
    await asyncio.sleep(1.1)
    await visitor.log_in(worker, "ann")
    await visitor.put(worker, "theme", "dark")
    await visitor.post(worker, "/api/visits", json={"op": "a1"})
    while (cookie := new_cookie(await visitor.get(worker, "/api/session"))) is None:
        await asyncio.sleep(0.1)
    assert await Visitor(visitor.http, cookie).knows_me(worker)
    for _ in range(2):  # of a stranger: the sorted set of turns exists while one waits
        await Visitor(visitor.http).post(worker, "/login", data=form | {"username": "bob"})


async def test_keys_and_fields(
    server: RedisServer,
    start_workers: StartWorkers,
    new_visitor: NewVisitor,
    engine_at: Callable[..., RedisSessions],
) -> None:
    """A worker that has done all it can leaves every kind of key and field in the tables, and no other."""
    settings = {"SESSION_RENEW_SECONDS": "2", "SESSION_RENEW_GRACE_SECONDS": "1"}
    (worker,) = start_workers(server.url, LOGIN_TRIES="1", **settings)
    await use_everything(worker, new_visitor())
    engine = engine_at(server)
    await engine.create(None, idle_seconds=60, absolute_seconds=60)
    redis = server.admin
    keys = {key.decode() for key in redis.keys("*")}
    found = {kind_of(key): redis.type(key).decode() for key in keys}
    fields = {
        "d:" if name.startswith(b"d:") else name.decode()
        for key in keys
        if key.startswith("session:")
        for name in redis.hkeys(key)
    }
    counts = {
        name.split()[0].decode()
        for key in keys
        if key.endswith(":counts")
        for name in redis.hkeys(key)
    }

    assert found == documented_keys()
    assert fields == documented_fields()
    assert all(f"`{name} <origin>`" in KEYS for name in counts)
    assert counts
