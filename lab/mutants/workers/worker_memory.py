"""Broken on purpose: each worker keeps the sessions it began in its own memory.

The next request reaches another worker, which knows nothing of the visitor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from app.sessions import RedisSessions, Session
from app.sessions.identity import digest_of, new_id, tag_in
from lab.mutants.workers.start import start


class MemorySessions(RedisSessions):
    """A dictionary where the engine has Redis."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._held: dict[str, Session] = {}

    async def load(self, session_id: str | None, *, touch: bool = True) -> Session | None:
        return None if session_id is None else self._held.get(digest_of(session_id))

    async def create(
        self,
        user: str | None,
        data: Mapping[str, Any] | None = None,
        *,
        replacing: Session | None = None,
        **more: Any,
    ) -> str:
        session_id, now = new_id(user), round(time.time())
        digest, ms = digest_of(session_id), now * 1000
        idle, absolute = self.limits.idle_seconds, self.limits.absolute_seconds
        facts = [now, 0, ms, ms, round(idle * 1000), ms + round(absolute * 1000)]
        if replacing is not None:
            await self.destroy(replacing)
        text = json.dumps([facts, False, False, False, 1, user, {}]).encode()
        self._held[digest] = Session(text, digest, tag_in(session_id))
        return session_id

    async def save(self, session: Session) -> bool:
        changes = session.changes()
        session.was_saved(changes, session.version + bool(changes))
        return session.digest in self._held

    async def increment(
        self, session: Session, key: str, by: int = 1, *, operation: str = ""
    ) -> int | None:
        total: int = session.get(key, 0) + by
        session.was_stored(key, total, session.version + 1)
        return total if session.digest in self._held else None

    async def destroy(self, session: Session, *, reason: str = "logout") -> bool:
        return self._held.pop(session.digest, None) is not None


if __name__ == "__main__":
    start(RedisSessions=MemorySessions)
