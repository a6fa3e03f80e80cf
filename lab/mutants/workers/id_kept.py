"""Broken on purpose: who logs in again goes on with the session id that he came with.

Whoever knows or has planted that id is logged in with him: session fixation.
"""

from __future__ import annotations

from typing import Any

from app.sessions import RedisSessions, Session
from app.sessions.identity import digest_of
from lab.mutants.workers.start import start


class KeptIds(RedisSessions):
    """The engine, but a login of the same user begins nothing new."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._ids: dict[str, str] = {}

    async def load(self, session_id: str | None, *, touch: bool = True) -> Session | None:
        if session_id is not None:
            self._ids[digest_of(session_id)] = session_id
        return await super().load(session_id, touch=touch)

    async def create(
        self, user: str | None, data: Any = None, *, replacing: Session | None = None, **more: Any
    ) -> str:
        if replacing is not None and replacing.user == user:
            return self._ids[replacing.digest]
        return await super().create(user, data, replacing=replacing, **more)


if __name__ == "__main__":
    start(RedisSessions=KeptIds)
