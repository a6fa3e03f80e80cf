"""What Redis says of itself, and how many sessions and users it holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import redis

COUNT_SECONDS = 1.0  # counting looks at every key; after this long the rest is estimated
WAIT_SECONDS = 1.0


def store_figures(url: str) -> dict[str, Any]:
    """`error` alone when Redis does not answer.  `exact` is false when the counts are estimates."""
    try:
        with _client(url) as client:
            infos = _infos(client)
            size = sum(value["keys"] for info in infos for value in _databases(info))
            counts, exact = count_keys(client.scan_iter(count=1000), size)
    except (OSError, redis.RedisError) as error:
        return {"error": str(error) or type(error).__name__}
    first = infos[0]
    return {
        "version": f"{first.get('server_name', 'redis')} {first.get('valkey_version') or first['redis_version']}",
        "memory_bytes": sum(int(info["used_memory"]) for info in infos),
        "memory_limit_bytes": sum(int(info.get("maxmemory", 0)) for info in infos),
        "sessions": counts["session"],
        "users": counts["user"],
        "exact": exact,
    }


def count_keys(keys: Iterable[bytes], size: int) -> tuple[Counter[str], bool]:
    """How many keys of each kind; from a share of the `size` keys when there are too many to look at."""
    deadline = time.monotonic() + COUNT_SECONDS
    counts: Counter[str] = Counter()
    for key in keys:
        counts[key.partition(b":")[0].decode("utf-8", "replace")] += 1
        if time.monotonic() > deadline:
            scale = max(1.0, size / counts.total())
            return Counter({kind: round(count * scale) for kind, count in counts.items()}), False
    return counts, True


def _client(url: str) -> Any:
    kind = redis.RedisCluster if "+cluster://" in url else redis.Redis
    plain = url.replace("+cluster://", "://")
    return kind.from_url(plain, socket_timeout=WAIT_SECONDS, socket_connect_timeout=WAIT_SECONDS)


def _infos(client: Any) -> list[dict[str, Any]]:
    """The INFO of each server that holds sessions."""
    if isinstance(client, redis.RedisCluster):
        return list(client.info(target_nodes=redis.RedisCluster.PRIMARIES).values())
    return [client.info()]


def _databases(info: dict[str, Any]) -> list[dict[str, int]]:
    return [value for name, value in info.items() if name.startswith("db") and "keys" in value]
