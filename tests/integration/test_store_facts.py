"""What `make status` says of a store that may fail over: roles, replicas, Sentinels and a cluster's slots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.sessions import Pipeline, RedisSessions
from deploy.operations.judgement import _of_store as judged
from deploy.operations.store import store_figures
from lab.testbed.replicated import Replicated
from lab.testbed.servers import ClusterOfThree, Place, wait_until


def problems(facts: dict[str, Any]) -> list[str]:
    return list(judged(facts))


def soon(fact: Callable[[], bool], what: str) -> None:
    wait_until(fact, seconds=15, what=what)


async def test_sessions_of_a_prefix(shared_single: Place) -> None:
    """Counted are the sessions and users of the stack's own prefix, beside those of another application."""
    shared_single.admin.flushall()
    pipeline = Pipeline(shared_single.url, timeout_seconds=5)
    for prefix, users in (("", ["ann"]), ("shop:", ["ann", "bob", "bob"])):
        for user in users:
            await RedisSessions(pipeline, prefix=prefix).create(user)
    await pipeline.close()
    url = shared_single.url.replace("://sessions@", "://")
    for prefix, counted in (("", (1, 1)), ("shop:", (3, 2)), ("sho", (0, 0))):
        facts = store_figures(url, prefix)
        assert (facts["sessions"], facts["users"]) == counted, prefix


def test_sentinels(tmp_path: Path) -> None:
    """The master, its replicas with their lag, and each Sentinel; what is missing of them is a problem."""
    place = Replicated(tmp_path, password="of-redis", sentinel_password="of-sentinels")
    try:
        place.start()
        facts = store_figures(place.url)
        (master,) = facts["servers"]
        assert master["server"] == f"127.0.0.1:{place.master.port}"
        assert master["role"] == "master"
        assert {one["server"] for one in master["replicas"]} == {
            f"127.0.0.1:{server.port}" for server in place.servers[1:]
        }
        assert all(
            one["state"] == "online" and one["lag_seconds"] <= 2 for one in master["replicas"]
        )
        assert [(one["quorum"], one["other_sentinels"]) for one in facts["sentinels"]] == [
            (2, 2)
        ] * 3
        assert problems(facts) == []

        place.sentinels[0].stop()
        assert any(
            "Sentinel" in one and "does not answer" in one
            for one in problems(store_figures(place.url))
        )
        old = place.master
        old.stop()
        place.wait_for_another(old)
        soon(lambda: "error" not in store_figures(place.url), "a store that answers")
        (master,) = store_figures(place.url)["servers"]
        assert master["server"] == f"127.0.0.1:{place.master.port}"
    finally:
        place.stop()


def test_no_replica(tmp_path: Path) -> None:
    """A watched master that nobody follows: it serves, and nobody could take over."""
    place = Replicated(tmp_path, replicas=0)
    try:
        place.start()
        (problem,) = problems(store_figures(place.url))
        assert "no replica follows the master" in problem
        for sentinel in place.sentinels:
            sentinel.stop()
        assert "no Sentinel names the master" in store_figures(place.url)["error"]
    finally:
        place.stop()


def test_cluster(tmp_path: Path) -> None:
    """A cluster is found by any living seed; the slots of a dead primary without a replica are counted."""
    cluster = ClusterOfThree(tmp_path, node_timeout_ms=1000)
    try:
        cluster.start()
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in cluster.nodes)
        facts = store_figures(f"redis+cluster://127.0.0.1:1,{hosts}")
        assert len(facts["servers"]) == 3
        assert facts["slots_uncovered"] == 0
        assert problems(facts) == []
        cluster.nodes[1].stop()
        url = f"redis+cluster://{hosts}"
        soon(lambda: store_figures(url)["slots_uncovered"] == 5461, "slots that are not covered")
        assert any("5461 slots" in problem for problem in problems(store_figures(url)))
    finally:
        cluster.stop()
