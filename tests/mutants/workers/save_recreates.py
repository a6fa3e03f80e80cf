"""Broken on purpose: a save puts the session back when a logout has ended it meanwhile.

So does a SETEX at the end of each request: whoever was slow revives what was over.
"""

from __future__ import annotations

from typing import Any

from app.sessions import RedisSessions, Session
from app.sessions.identity import session_key, tag_of
from tests.mutants.workers.client import redis_client
from tests.mutants.workers.start import start


class RevivingSessions(RedisSessions):
    """The engine, but a change that comes too late is written with all that had been read."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._read: dict[str, dict[bytes, bytes]] = {}

    async def load(self, session_id: str) -> Session | None:
        session = await super().load(session_id)
        if session is not None:
            self._read[session.digest] = await redis_client().hgetall(_key(session))
        return session

    async def save(self, session: Session) -> bool:
        if not await super().save(session):
            await redis_client().hset(_key(session), mapping=self._read[session.digest])
        return True


def _key(session: Session) -> str:
    return session_key(tag_of(session.user), session.digest)


if __name__ == "__main__":
    start(RedisSessions=RevivingSessions)
