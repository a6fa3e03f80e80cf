"""The ordinary asynchronous Redis client, for broken workers that go their own way to Redis."""

from __future__ import annotations

from functools import cache

from redis.asyncio import Redis

from app.settings import read_settings


@cache
def redis_client() -> Redis:
    """One client a worker, to the Redis of its stack."""
    return Redis.from_url(read_settings().redis_url)
