"""The ordinary asynchronous Redis client, for broken workers that go their own way to Redis."""

from __future__ import annotations

from functools import cache

from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel

from app.sessions.wire.address import read_address
from app.settings import read_settings


@cache
def redis_client() -> Redis:
    """One client a worker, to the Redis of its stack or to whom its Sentinels call the master."""
    url = read_settings().redis_url
    if not url.startswith("redis+sentinel:"):
        return Redis.from_url(url)
    address = read_address(url)
    sentinels = Sentinel(list(address.hosts), sentinel_kwargs=login_of(address.sentinel_login))
    found: Redis = sentinels.master_for(address.master, **login_of(address.login))  # type: ignore[arg-type]
    return found


def login_of(words: tuple[str, ...]) -> dict[str, str]:
    """What AUTH is given, as redis-py calls it."""
    return dict(zip(("password", "username"), reversed(words), strict=False))
