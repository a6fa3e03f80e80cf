"""The session engine of a faulty worker, and how a fault gets into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.sessions import RedisSessions, Session
from app.sessions.identity import session_key
from lab.mutants.workers.client import redis_client

Faults = dict[str, Callable[[], None]]


class Sessions(RedisSessions):
    """The engine; faults replace its methods."""


def put_in(owner: type, name: str, method: Callable[..., Any]) -> None:
    """Let `owner` do this instead of what it did."""
    assert hasattr(owner, name), f"{owner.__name__} has no {name}"
    setattr(owner, name, method)


def key_of(session: Session) -> str:
    """Where Redis has this session."""
    return session_key(session.tag, session.digest)


async def is_rested(session: Session, milliseconds: int) -> bool:
    """Whether nobody has asked this for so long; it counts as asking."""
    name = f"recent:{session.digest}"
    return await redis_client().set(name, 1, px=milliseconds, get=True) is None
