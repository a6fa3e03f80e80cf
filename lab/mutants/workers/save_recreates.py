"""Broken on purpose: a save puts the session back when a logout has ended it meanwhile.

So does a SETEX at the end of each request: whoever was slow revives what was over. Only logouts are
undone here, so that the fault is of one kind: what was ended from another device stays ended.
"""

from __future__ import annotations

from typing import Any

from app.handlers import login
from app.sessions import RedisSessions, Session
from app.sessions.identity import session_key, tag_of
from lab.mutants.workers.client import redis_client
from lab.mutants.workers.start import start


class RevivingSessions(RedisSessions):
    """The engine, but a change that comes too late is written with all that had been read."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._read: dict[str, Any] = {}

    async def load(self, session_id: str | None, *, touch: bool = True) -> Session | None:
        session = await super().load(session_id, touch=touch)
        if session is not None:
            self._read[session.digest] = await redis_client().hgetall(_key(session))
        return session

    async def save(self, session: Session) -> bool:
        saved = await super().save(session)
        if not saved and await redis_client().exists(_logged_out(session)):
            await redis_client().hset(_key(session), mapping=self._read[session.digest])
            return True
        return saved


class Logout(login.Logout):
    """POST /logout"""

    async def post(self) -> None:
        if self.session is not None:
            await redis_client().set(_logged_out(self.session), 1, ex=60)
        await super().post()


def _logged_out(session: Session) -> str:
    return f"logged out:{session.digest}"


def _key(session: Session) -> str:
    return session_key(tag_of(session.user), session.digest)


if __name__ == "__main__":
    login.Logout = Logout  # type: ignore[misc]
    start(RedisSessions=RevivingSessions)
