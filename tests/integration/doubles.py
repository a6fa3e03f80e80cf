"""Two common ways to keep sessions, both wrong under round robin: what the race tests have to notice.

They keep one JSON text a session.  Nothing outside the tests may use them.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

from redis.asyncio import Redis

LIFE_SECONDS = 600


class BlobSession(dict[str, Any]):
    """A session that is read and written as a whole."""

    def __init__(self, session_id: str, text: bytes) -> None:
        super().__init__(json.loads(text))
        self.session_id = session_id
        self.text = text


class ArticleStore:
    """As in a well-known article: each request extends the session by writing back what it read."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def create(self, user: str) -> str:
        session_id = secrets.token_urlsafe(30)
        await self.redis.set(session_id, b"{}", ex=LIFE_SECONDS)
        return session_id

    async def load(self, session_id: str) -> BlobSession | None:
        text = await self.redis.get(session_id)
        if text is None:
            return None
        await asyncio.sleep(0)
        await self.redis.set(session_id, text, ex=LIFE_SECONDS)
        return BlobSession(session_id, text)

    async def save(self, session: BlobSession) -> bool:
        await self.redis.set(session.session_id, json.dumps(session), ex=LIFE_SECONDS)
        return True

    async def destroy(self, session: BlobSession) -> bool:
        return bool(await self.redis.delete(session.session_id))


class DirtyFlagStore(ArticleStore):
    """Better and still wrong: reading only moves the expiry, and only what changed is written."""

    async def load(self, session_id: str) -> BlobSession | None:
        text = await self.redis.getex(session_id, ex=LIFE_SECONDS)
        return None if text is None else BlobSession(session_id, text)

    async def save(self, session: BlobSession) -> bool:
        return json.loads(session.text) == session or await super().save(session)
