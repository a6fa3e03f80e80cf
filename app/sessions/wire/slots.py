"""Which node of a Redis Cluster holds which keys, as the nodes themselves tell it."""

from __future__ import annotations

import asyncio
import random
from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .address import Address, Place
from .connection import Connection, Refused, connect

SLOTS = 16384
ASKED_AT_ONCE = 5  # nodes; the first answer is taken


def slot_of(key: str | bytes | int) -> int:
    """The slot of a key; of one with a hash tag, `user:{tag}:ann`, only the tag counts."""
    name = key if isinstance(key, bytes) else str(key).encode()
    _, opened, rest = name.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return crc_hqx(tag if opened and closed and tag else name, 0) % SLOTS


@dataclass(frozen=True)
class Slots:
    """`holders` has the primary of each slot, None where none is known; `nodes` are all, replicas too."""

    holders: list[Place | None]
    nodes: list[Place]


async def ask_slots(address: Address, known: Sequence[Place], timeout_seconds: float) -> Slots:
    """From the first of several nodes that answers, the others may be away.  Raises OSError."""
    some = random.sample(list(known), min(len(known), ASKED_AT_ONCE))
    asking = [asyncio.create_task(_ask(address, place, timeout_seconds)) for place in some]
    reason = "no node of the cluster is known"
    try:
        for answer in asyncio.as_completed(asking):
            try:
                return await answer
            except (OSError, TimeoutError) as error:
                reason = str(error) or f"no node answers within {timeout_seconds:g} s"
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    raise OSError(reason)


async def _ask(address: Address, place: Place, timeout_seconds: float) -> Slots:
    connection = Connection()
    try:
        async with asyncio.timeout(timeout_seconds):
            await connect(connection, address, place)
            (ranges,) = await connection.ask(("CLUSTER", "SLOTS"))
    finally:
        connection.close("asked")
    if isinstance(ranges, Refused) or not ranges:
        raise OSError(f"{place[0]}:{place[1]} knows no slots: {ranges or 'it is in no cluster'}")
    holders: list[Place | None] = [None] * SLOTS
    nodes: dict[Place, None] = {}
    for first, last, *of_range in ranges:
        places = [_place(node, place[0]) for node in of_range]
        holders[first : last + 1] = [places[0]] * (last + 1 - first)
        nodes |= dict.fromkeys(places)
    return Slots(holders, list(nodes))


def _place(node: Sequence[Any], asked_host: str) -> Place:
    """A node that does not know its own name is reached where it was asked."""
    host = (node[0] or b"").decode()
    return (asked_host if host in ("", "?") else host), int(node[1])
