"""Broken on purpose: a read-modify-write puts back whatever it had read and finds gone.

So does every save of a whole record: a field that another request has deleted meanwhile is there again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from app.sessions import RedisSessions, Session
from app.sessions.identity import session_key, tag_of
from lab.mutants.workers.client import redis_client
from lab.mutants.workers.start import start

PAGE_SECONDS = 0.02  # between reading and writing, as of a page that does something


class RestoringSessions(RedisSessions):
    """The engine, but `update` writes all fields of its first read, where another has not written."""

    async def update(self, session: Session, change: Callable[[Session], object]) -> bool:
        read: dict[str, Any] = {key: session[key] for key in session}
        await asyncio.sleep(PAGE_SECONDS)
        updated = await super().update(session, change)
        if updated:
            key = session_key(tag_of(session.user), session.digest)
            for name, value in read.items():
                await redis_client().hsetnx(key, f"d:{name}", json.dumps(value))
        return updated


if __name__ == "__main__":
    start(RedisSessions=RestoringSessions)
