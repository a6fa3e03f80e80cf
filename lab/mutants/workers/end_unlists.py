"""Broken on purpose: ending a device takes it off the user's list, and its session goes on.

The page looks right; the thief of that device stays logged in.
"""

from __future__ import annotations

from app.sessions import RedisSessions
from app.sessions.identity import ref_of, user_key
from lab.mutants.workers.client import redis_client
from lab.mutants.workers.start import start


class UnlistingSessions(RedisSessions):
    """The engine, but a session ended by name is only forgotten by the index."""

    async def end(self, user: str, ref: str, *, reason: str = "device") -> bool:
        for digest in await self._members(user):
            if ref_of(digest) == ref:
                return bool(await redis_client().zrem(user_key(user), digest))
        return False


if __name__ == "__main__":
    start(RedisSessions=UnlistingSessions)
