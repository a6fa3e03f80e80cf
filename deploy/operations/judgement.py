"""What is wrong with a running stack, and what to do: sentences made from facts, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.upstream.read import Upstream

Facts = Mapping[str, Any]
FULL_SHARE = 0.9  # of maxmemory: the rest may be gone before anybody has looked
MAY_NOT = "the user in REDIS_URL may not do this: deploy/redis/users.acl has what it needs"
REMEDIES = {
    "OOM": "its memory is full: raise maxmemory, or have sessions end sooner (SESSION_IDLE_SECONDS)",
    "MISCONF": "it cannot write to its disk: make room there, or give its folder back; its log says more",
    "READONLY": "it is a replica: point REDIS_URL at the master",
    "NOREPLICAS": "too few replicas follow it: start them, or lower min-replicas-to-write",
    "NOPERM": MAY_NOT,
    "ACL failure": MAY_NOT,  # the same, inside a script
    "NOAUTH": "name or password in REDIS_URL are missing or wrong",
    "LOADING": "it is still loading its data: wait",
    "CLUSTERDOWN": "a part of the cluster has no server: start it again",
}


def problems(facts: Facts, upstream: Upstream | None) -> list[str]:
    """What is not as it should be, each with its remedy; empty when visitors are served."""
    return [
        *_of_workers(facts, upstream),
        *_of_servers(facts["servers"]),
        *_of_store(facts["redis"]),
        *_of_visitor(facts["visitor"]),
    ]


def remedy(text: str) -> str:
    """`text`, an error of Redis, with what to do about it where that is known."""
    code = next((code for code in REMEDIES if code in text), None)
    return f"{text}\n  {REMEDIES[code]}" if code else text


def _of_workers(facts: Facts, upstream: Upstream | None) -> Iterator[str]:
    for worker in facts["workers"]:
        if not worker["ready"]:
            yield f"{worker['worker']} is not ready: {worker['problem']}"
    if upstream:
        here = {worker["port"] for worker in facts["workers"]}
        for server in upstream.workers:
            if server.port not in here:
                yield f"worker {server.port} is not running: `make reload` starts it"
    if not facts["workers"] and facts.get("role") != "edge":
        yield "no worker is running"
    if not facts["nginx"]["processes"] and facts.get("role") != "workers":
        yield "nginx is not running"


def _of_servers(servers: list[dict[str, Any]]) -> Iterator[str]:
    for server in servers:
        if server["in_rotation"] and not server["answers"]:
            name = server["server"]
            yield (
                f"{name} does not answer, and this stack does not start it: "
                f"start it there, or `make drain W={name}`"
            )
        elif server["in_rotation"] and not server.get("ready", True):
            yield f"{server['server']} is not ready: {server['problem']}; its host knows more"


def _of_store(redis: Facts) -> Iterator[str]:
    if not redis:
        return  # an edge host has nothing to do with it
    if "error" in redis:
        yield remedy(f"Redis does not answer: {redis['error']}")
        return
    for server in redis["servers"]:
        yield from _of_redis_server(server)
    yield from _of_failover(redis)


def _of_failover(redis: Facts) -> Iterator[str]:
    """Whether another server would take over: Sentinels, and slots of a cluster that nobody holds."""
    for sentinel in redis.get("sentinels", []):
        name = f"the Sentinel at {sentinel['sentinel']}"
        if "error" in sentinel:
            yield f"{name} does not answer: start it, or fewer than its quorum may be left"
        elif 1 + sentinel["other_sentinels"] < sentinel["quorum"]:
            yield f"{name} sees fewer Sentinels than its quorum of {sentinel['quorum']}: no failover is possible"
        elif sentinel["says_down"]:
            yield f"{name} considers the master {sentinel['master']} down: wait for the failover"
    first = redis["servers"][0]
    if redis.get("sentinels") and first.get("role") == "master" and not first.get("replicas"):
        yield "no replica follows the master: no failover is possible; start one"
    if uncovered := redis.get("slots_uncovered"):
        yield f"{uncovered} slots of the cluster have no primary: their users get 503; start it or its replica"


def _of_redis_server(server: Facts) -> Iterator[str]:
    name = f"Redis at {server['server']}"
    if "error" in server:
        yield remedy(f"{name} does not answer: {server['error']}")
        return
    if server["loading"]:
        yield f"{name} is still loading its data: wait"
    elif server["role"] == "slave":
        yield f"{name} is a replica, and takes no writes: point REDIS_URL at the master"
    elif server["refuses_writes"]:
        yield remedy(f"{name} refuses writes: {server['refuses_writes']}")
    if server["snapshot_failed"]:
        yield f"{name} could not save its last snapshot: make room on its disk; its log says more"
    if server["append_failed"]:
        yield f"{name} could not write its append-only file: make room on its disk; its log says more"
    used, limit = server["memory_bytes"], server["memory_limit_bytes"]
    if limit and used >= FULL_SHARE * limit:
        share = f"{used / limit:.0%} of its maxmemory"
        yield f"{name} uses {share}: raise it before logins fail, or have sessions end sooner"


def _of_visitor(visitor: Facts) -> Iterator[str]:
    """What one visitor got who logged in, looked, wrote and logged out; without a login there is no more."""
    if visitor.get("login"):
        yield remedy(f"nobody can log in: {visitor['login']}")
    for step in ("page", "write", "logout"):
        if answer := visitor.get(step):
            yield remedy(f"a visitor's {step} fails: {answer}")
