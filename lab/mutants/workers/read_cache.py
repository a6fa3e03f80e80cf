"""Broken on purpose: each worker believes for one second what it last read of a session.

A write on one worker is not seen on the others until their second is over.
"""

from __future__ import annotations

import time
from typing import Any

from app.sessions import RedisSessions, Session
from lab.mutants.workers.start import start

CACHE_SECONDS = 1.0


class CachedSessions(RedisSessions):
    """Loads through a dictionary; writes go to Redis as they should."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._known: dict[str, tuple[float, Session | None]] = {}

    async def load(self, session_id: str | None, *, touch: bool = True) -> Session | None:
        read_at, session = self._known.get(session_id or "", (0.0, None))
        if time.monotonic() - read_at > CACHE_SECONDS:
            session = await super().load(session_id, touch=touch)
            self._known[session_id or ""] = (time.monotonic(), session)
        return session


if __name__ == "__main__":
    start(RedisSessions=CachedSessions)
