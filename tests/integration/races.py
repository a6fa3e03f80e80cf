"""The races that a shared session has to survive, for any store with these four methods.

Each store stands for a worker of its own.  What is counted is damage: a right store gives 0.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import MutableMapping, Sequence
from typing import Any, Protocol


class Store(Protocol):
    async def create(self, user: str) -> str: ...
    async def load(self, session_id: str) -> Any: ...
    async def save(self, session: Any) -> bool: ...
    async def destroy(self, session: Any) -> bool: ...


async def lost_updates(stores: Sequence[Store], *, writers: int, rounds: int) -> int:
    """Parallel requests each write a key of their own; how many of the keys are missing afterwards."""
    missing = 0
    for number in range(rounds):
        session_id = await stores[0].create(f"lost-{number}")
        await asyncio.gather(
            *(_write(stores[n % len(stores)], session_id, f"k{n}") for n in range(writers))
        )
        missing += writers - len(await _load(stores[0], session_id))
    return missing


async def revived_by_writers(stores: Sequence[Store], *, rounds: int) -> int:
    """A request reads, another logs out, the first writes; how many sessions are alive afterwards."""
    revived = 0
    for number in range(rounds):
        session_id = await stores[0].create(f"revived-{number}")
        late = await _load(stores[0], session_id)
        await stores[1].destroy(await _load(stores[1], session_id))
        late["late"] = 1
        await stores[0].save(late)
        revived += await stores[1].load(session_id) is not None
    return revived


async def undone_by_readers(stores: Sequence[Store], *, rounds: int) -> int:
    """Requests only read while another logs out; how many sessions are alive afterwards."""
    revived = 0
    for number in range(rounds):
        session_id = await stores[0].create(f"read-{number}")
        leaving = await _load(stores[1], session_id)
        readers = [_later(stores[n % len(stores)].load(session_id)) for n in range(6)]
        await asyncio.gather(*readers, _later(stores[1].destroy(leaving)))
        revived += await stores[1].load(session_id) is not None
    return revived


async def undone_deletes(stores: Sequence[Store], *, rounds: int) -> int:
    """One request deletes a key while another writes a second one; how many deleted keys are back."""
    back = 0
    for number in range(rounds):
        session_id = await stores[0].create(f"deleted-{number}")
        await _write(stores[0], session_id, "cart")
        other = await _load(stores[1], session_id)
        first = await _load(stores[0], session_id)
        del first["cart"]
        await stores[0].save(first)
        other["seen"] = 1
        await stores[1].save(other)
        after = await _load(stores[0], session_id)
        back += "cart" in after or "seen" not in after
    return back


async def _write(store: Store, session_id: str, key: str) -> None:
    session = await _load(store, session_id)
    await asyncio.sleep(0)  # as a handler that does something in between
    session[key] = 1
    await store.save(session)


async def _load(store: Store, session_id: str) -> MutableMapping[str, Any]:
    session: MutableMapping[str, Any] | None = await store.load(session_id)
    assert session is not None
    return session


async def _later(what: Any) -> Any:
    await asyncio.sleep(random.random() / 1000)
    return await what
