"""What `make status` calls a problem, and the remedy it gives; facts in, sentences out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.operations.elsewhere import warnings
from deploy.operations.judgement import problems
from deploy.operations.status import elsewhere
from deploy.upstream.read import Upstream, parse_upstream

WELL: dict[str, Any] = {
    "workers": [{"worker": "127.0.0.1:8001", "port": 8001, "ready": True, "problem": None}],
    "servers": [],
    "nginx": {"processes": 2},
    "redis": {
        "servers": [
            {
                "server": "redis:6379",
                "role": "master",
                "loading": False,
                "memory_bytes": 10,
                "memory_limit_bytes": 100,
                "snapshot_failed": False,
                "append_failed": False,
                "refuses_writes": None,
            }
        ]
    },
    "visitor": {"login": None, "page": None, "write": None, "logout": None},
}


def upstream_of(*servers: str) -> Upstream:
    lines = "".join(f"server {server};\n" for server in servers)
    return parse_upstream(f"upstream app {{\nzone app 512k;\n{lines}}}\n", Path("upstream.conf"))


def of_redis(**facts: Any) -> Callable[[dict[str, Any]], None]:
    return lambda all_facts: all_facts["redis"]["servers"][0].update(facts)


def test_all_is_well() -> None:
    """Where everything answers and takes writes, there is nothing to say."""
    assert problems(WELL, upstream_of("app:8001")) == []


STATES: dict[str, tuple[Callable[[dict[str, Any]], None], str, str]] = {
    "replica": (of_redis(role="slave"), "is a replica", "point REDIS_URL at the master"),
    "loading": (of_redis(loading=True), "is still loading its data", "wait"),
    "full": (of_redis(refuses_writes="OOM ..."), "refuses writes: OOM", "raise maxmemory"),
    "disk": (of_redis(refuses_writes="MISCONF ..."), "refuses writes: MISCONF", "make room there"),
    "alone": (of_redis(refuses_writes="NOREPLICAS ..."), "NOREPLICAS", "min-replicas-to-write"),
    "forbidden": (of_redis(refuses_writes="NOPERM ..."), "NOPERM", "deploy/redis/users.acl"),
    "snapshot": (of_redis(snapshot_failed=True), "last snapshot", "make room on its disk"),
    "append": (of_redis(append_failed=True), "append-only file", "make room on its disk"),
    "nearly full": (of_redis(memory_bytes=95), "95% of its maxmemory", "raise it"),
    "one of them away": (of_redis(error="refused"), "redis:6379 does not answer", "refused"),
    "away": (
        lambda f: f.update(redis={"error": "NOAUTH"}),
        "does not answer",
        "password in REDIS_URL",
    ),
    "login": (lambda f: f["visitor"].update(login="OOM x"), "nobody can log in", "raise maxmemory"),
    "page": (lambda f: f["visitor"].update(page="is 503"), "a visitor's page fails", "is 503"),
    "nginx": (lambda f: f["nginx"].update(processes=0), "nginx is not running", ""),
    "worker": (
        lambda f: f["workers"][0].update(ready=False, problem="503"),
        "127.0.0.1:8001 is not ready",
        "503",
    ),
    "no worker": (lambda f: f["workers"].clear(), "no worker is running", "make reload"),
    "elsewhere": (
        lambda f: f["servers"].append({"server": "b:1", "in_rotation": True, "answers": False}),
        "b:1 does not answer",
        "make drain W=b:1",
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_problem(state: str) -> None:
    """Each state that visitors would notice is named, with what to do."""
    spoil, what, remedy = STATES[state]
    facts = copy.deepcopy(WELL)
    spoil(facts)
    said = "\n".join(problems(facts, upstream_of("app:8001")))

    assert what in said
    assert remedy in said


def test_out_of_rotation() -> None:
    """A server elsewhere that is out of rotation may be away."""
    facts = copy.deepcopy(WELL)
    facts["servers"].append({"server": "b:1", "in_rotation": False, "answers": False})

    assert problems(facts, None) == []


def test_figures_that_nobody_may_ask_for() -> None:
    """A user of Redis that may not ask who follows the master is no master without a replica."""
    facts = copy.deepcopy(WELL)
    sentinel = {"sentinel": "a:26379", "other_sentinels": 2, "quorum": 2, "says_down": False}
    facts["redis"]["sentinels"] = [sentinel]
    assert "no replica follows" in str(problems(facts, None))

    facts["redis"]["servers"][0]["role"] = None
    assert problems(facts, None) == []


def test_elsewhere() -> None:
    """Servers that this stack does not start are listed with what they do and say; workers are not."""
    upstream = upstream_of("app:8001", "10.0.0.7:8001", "b.example:80 down", "unix:/run/a.sock")

    assert elsewhere(upstream, lambda host, _: host == "10.0.0.7", lambda *_: {"in_flight": 0}) == [
        {"server": "10.0.0.7:8001", "in_rotation": True, "answers": True, "in_flight": 0},
        {"server": "b.example:80", "in_rotation": False, "answers": False},
        {"server": "unix:/run/a.sock:80", "in_rotation": True, "answers": False},
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.0.0.9"])
def test_tutorial_line(host: str) -> None:
    """A server on this machine, as tutorials write it, is no worker: said whether or not it answers."""
    (said,) = warnings(upstream_of("app:8001", f"{host}:8005"), lambda *_: True)

    assert said == (
        f"upstream.conf, line 4: {host}:8005: "
        "this stack does not start it; write `app:8005` if it should"
    )


def test_warnings() -> None:
    """A listed server that nobody answers on gets a warning; one that answers or is out of rotation gets none."""
    upstream = upstream_of("app:8001", "a:1", "b:2", "c:3 down")

    assert warnings(upstream, lambda host, _: host == "a") == [
        "upstream.conf, line 5: b:2: nobody answers there; this stack does not start it"
    ]
