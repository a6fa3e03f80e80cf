"""A Redis that refuses writes still answers readers: full, without its replicas, or unable to save."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.sessions import StoreUnavailable
from lab.testbed.servers import RedisServer, wait_until
from tests.integration.conftest import MakeEngine
from tests.integration.loading import key_of, load

Refuse = Callable[[RedisServer, Path], object]


def full(server: RedisServer, folder: Path) -> None:
    server.admin.config_set("maxmemory", "1")


def without_replicas(server: RedisServer, folder: Path) -> None:
    server.admin.config_set("min-replicas-to-write", "1")


def cannot_save(server: RedisServer, folder: Path) -> None:
    shutil.rmtree(folder)
    server.admin.config_set("save", "3600 1")
    server.admin.bgsave()
    failed = "a failed snapshot"
    wait_until(
        lambda: server.admin.info("persistence")["rdb_last_bgsave_status"] == "err",
        seconds=5,
        what=failed,
    )


REFUSALS: dict[str, tuple[Refuse, dict[str, str]]] = {
    "OOM": (full, {"maxmemory": "0"}),
    "NOREPLICAS": (without_replicas, {"min-replicas-to-write": "0"}),
    "MISCONF": (cannot_save, {"stop-writes-on-bgsave-error": "no"}),
}


@pytest.mark.parametrize("code", REFUSALS)
async def test_readers_read_on(
    engine: MakeEngine, server: RedisServer, tmp_path: Path, code: str
) -> None:
    """Pages are read, also where a touch and a renewal are due; a write is refused as not having happened."""
    store = engine(touch_seconds=0, renew_seconds=0.01, renew_grace_seconds=0.001)
    session_id = await store.create("ann", {"flash": 1})
    await asyncio.sleep(0.02)
    refuse, mended = REFUSALS[code]
    refuse(server, tmp_path / "redis")
    session = await load(store, session_id)
    assert session["flash"] == 1
    assert session.renewal_due
    assert await store.renew(session) is None
    assert len(await store.devices("ann")) == 1
    await store.check()
    session["a"] = 1
    with pytest.raises(StoreUnavailable, match=code) as caught:
        await store.save(session)
    assert not caught.value.may_have_happened
    assert await store.load("A" * 40) is None

    for name, value in mended.items():
        server.admin.config_set(name, value)
    assert await store.save(session)
    before = server.admin.hget(key_of(session_id), "touched")
    session = await load(store, session_id)
    assert await store.renew(session)
    assert server.admin.hget(key_of(session_id), "touched") > before


async def test_a_full_redis_lets_go(engine: MakeEngine, server: RedisServer) -> None:
    """Full, Redis still ends sessions, takes out flash messages, and moves idle deadlines."""
    store = engine(touch_seconds=0, idle_seconds=60)
    session_id = await store.create("ann", {"flash": 1})
    other = await load(store, await store.create("ann"))
    full(server, Path())
    server.admin.pexpire(key_of(session_id), 5000)
    session = await load(store, session_id)
    assert await store.pop(session, "flash") == 1
    assert await store.touch(session)
    assert server.admin.pttl(key_of(session_id)) > 50_000
    assert await store.destroy(other)
    assert await store.end_all("ann") == 1
    assert await store.load(session_id) is None
