"""Loading a session that has to be there, and reading what Redis holds of it."""

from __future__ import annotations

import hashlib
from typing import Any

from app.sessions import RedisSessions, Session
from lab.testbed.servers import Place


async def load(engine: RedisSessions, session_id: str) -> Session:
    """The session behind an id that must lead to one."""
    session = await engine.load(session_id)
    assert session is not None, "this session has ended"
    return session


def key_of(session_id: str) -> str:
    """Where Redis holds the session, as DESIGN.md says; written out here so that a change shows."""
    return f"session:{{{session_id[:4]}}}:{hashlib.sha256(session_id.encode()).hexdigest()}"


def keys(place: Place, pattern: str = "*") -> list[bytes]:
    """All keys at a place; what has expired is not among them."""
    return sorted(place.admin.scan_iter(match=pattern, count=1000))


def everything(place: Place) -> bytes:
    """All keys and all values at a place, as one text to search."""
    parts: list[Any] = []
    for key in keys(place):
        kind = place.admin.type(key)
        parts.append(key)
        if kind == b"hash":
            parts += [part for item in place.admin.hgetall(key).items() for part in item]
        elif kind == b"zset":
            parts += place.admin.zrange(key, 0, -1)
        elif kind == b"list":
            parts += place.admin.lrange(key, 0, -1)
        else:
            parts.append(place.admin.get(key))
    return b"\n".join(parts)
