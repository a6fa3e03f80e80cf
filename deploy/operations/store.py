"""What Redis reports: each server's role, memory, disk and whether it takes writes; sessions and users.

Facts only, gathered where Redis can be reached; judgement.py says which of them are problems.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
)

from deploy.operations.redis_at import find_servers

COUNT_SECONDS = 1.0  # counting looks at every key; after this long the rest is estimated
FAILURES = (OSError, ValueError, TypeError, redis.RedisError, RedisClusterException)
# A script that does not say it only reads.  Redis refuses it, before it runs, whenever it would refuse a write.
CODES: dict[type[Exception], str] = {
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    NoPermissionError: "NOPERM",
    AuthenticationError: "NOAUTH",
    BusyLoadingError: "LOADING",
    ClusterDownError: "CLUSTERDOWN",
}
WRITER = "#!lua\nreturn 1"
DATABASE = re.compile(r"db\d+")  # of INFO


def given_url(environ: Mapping[str, str]) -> str:
    """Where the settings say that Redis is."""
    path = environ.get("REDIS_URL_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else environ["REDIS_URL"]


def store_figures(url: str, prefix: str = "", *, count: bool = True) -> dict[str, Any]:
    """Of the sessions and users whose keys begin with `prefix`; `error` alone when Redis does not answer.

    `exact` is false when the counts are estimates.  Without `count` no key is looked at: for who asks often.
    """
    try:
        found = find_servers(url)
    except FAILURES as error:
        return {"error": _text(error)}
    figures = _figures(found.servers, prefix.encode(), count)
    for client in found.servers.values():
        client.close()
    return {**figures, "sentinels": list(found.sentinels), "slots_uncovered": found.slots_uncovered}


def server_facts(name: str, client: Any) -> dict[str, Any]:
    """How one server is: `error` when it does not answer, `refuses_writes` with its own words if it does."""
    try:
        info = client.info()
    except NoPermissionError:
        info = {}  # this user may not ask; what visitors get is tried out elsewhere
    except FAILURES as error:
        return {"server": name, "error": _text(error)}
    return {
        "server": name,
        "role": info.get("role"),
        "loading": bool(info.get("loading")),
        "master_link": info.get("master_link_status"),
        "replicas": _replicas(info),
        "version": _version(info),
        "memory_bytes": int(info.get("used_memory", 0)),
        "memory_limit_bytes": int(info.get("maxmemory", 0)),
        "snapshot_failed": info.get("rdb_last_bgsave_status") == "err",
        "append_failed": "err"
        in (info.get("aof_last_write_status"), info.get("aof_last_bgrewrite_status")),
        "keys": sum(info[name]["keys"] for name in info if DATABASE.fullmatch(name)),
        "refuses_writes": _refusal(client),
    }


def count_keys(keys: Iterable[bytes], size: int, prefix: bytes) -> tuple[Counter[bytes], bool]:
    """How many keys of each kind; from a share of the `size` keys when there are too many to look at.

    The kind is what stands between `prefix` and the next colon; it is empty for a key without the prefix.
    """
    deadline = time.monotonic() + COUNT_SECONDS
    counts: Counter[bytes] = Counter()
    for key in keys:
        own = key.startswith(prefix)
        counts[key.removeprefix(prefix).partition(b":")[0] if own else b""] += 1
        if time.monotonic() > deadline:
            scale = max(1.0, size / counts.total())
            return Counter({kind: round(count * scale) for kind, count in counts.items()}), False
    return counts, True


def _figures(servers: dict[str, Any], prefix: bytes, count: bool) -> dict[str, Any]:
    facts = [server_facts(name, client) for name, client in servers.items()]
    answering = [fact for fact in facts if "error" not in fact]
    if not answering:
        return {"error": facts[0]["error"], "servers": facts}
    figures = {
        "version": answering[0]["version"],
        "memory_bytes": sum(fact["memory_bytes"] for fact in answering),
        "memory_limit_bytes": sum(fact["memory_limit_bytes"] for fact in answering),
        "servers": facts,
    }
    if not count:
        return figures
    clients = [servers[fact["server"]] for fact in answering]
    counts, exact = count_keys(_keys(clients), sum(fact["keys"] for fact in answering), prefix)
    counted = {"sessions": counts[b"session"], "users": counts[b"user"]}
    return figures | counted | {"exact": exact and answering == facts}


def _replicas(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that follow this server, and how far behind they are, by the last they reported."""
    end = int(info.get("master_repl_offset", 0))
    followers = (
        info.get(f"slave{number}") for number in range(int(info.get("connected_slaves", 0)))
    )
    return [
        {
            "server": f"{one['ip']}:{one['port']}",
            "state": one["state"],
            "lag_seconds": int(one["lag"]),
            "behind_bytes": max(0, end - int(one["offset"])),
        }
        for one in followers
        if one
    ]


def _keys(clients: Iterable[Any]) -> Iterator[bytes]:
    for client in clients:
        try:
            yield from client.scan_iter(count=1000)
        except FAILURES:
            continue  # it has just gone, or may not be asked: its keys are not counted


def _refusal(client: Any) -> str | None:
    try:
        client.eval(WRITER, 0)
    except FAILURES as error:
        return _text(error)
    return None


def _version(info: dict[str, Any]) -> str:
    number = info.get("valkey_version") or info.get("redis_version") or "of an unknown version"
    return f"{info.get('server_name', 'redis')} {number}"


def _text(error: Exception) -> str:
    """What Redis said, with its code, which redis-py takes off for a class of its own."""
    text = str(error) or type(error).__name__
    code = next((code for kind, code in CODES.items() if isinstance(error, kind)), None)
    return text if code is None or text.startswith(code) else f"{code} {text}"
