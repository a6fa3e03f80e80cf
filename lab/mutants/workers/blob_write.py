"""Broken on purpose: the session is one JSON text that is read, changed and written back whole.

Two requests read the same text, and the second one to write undoes the first.
"""

from __future__ import annotations

import json

from app.sessions import RedisSessions, Session
from lab.mutants.workers.client import redis_client
from lab.mutants.workers.start import start


class BlobSessions(RedisSessions):
    """Begins and ends sessions as the engine does; the data lies in a key of its own beside them."""

    async def load(self, session_id: str | None, *, touch: bool = True) -> Session | None:
        session = await super().load(session_id, touch=touch)
        if session is not None:
            for key, value in (await self._read(session)).items():
                session.was_stored(key, value, session.version)
        return session

    async def increment(
        self, session: Session, key: str, by: int = 1, *, operation: str = ""
    ) -> int | None:
        blob = await self._read(session)
        blob[key] = blob.get(key, 0) + by
        await redis_client().set(
            f"blob:{session.digest}", json.dumps(blob), ex=int(self.limits.idle_seconds)
        )
        return blob[key]

    async def _read(self, session: Session) -> dict[str, int]:
        blob: dict[str, int] = json.loads(
            await redis_client().get(f"blob:{session.digest}") or "{}"
        )
        return blob


if __name__ == "__main__":
    start(RedisSessions=BlobSessions)
