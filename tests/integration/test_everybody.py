"""What an administrator sees: all live sessions, some at a time, and how many there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.sessions import Pipeline, RedisSessions
from app.sessions.memory import Memory, MemorySessions
from lab.testbed.servers import Place
from tests.integration.least_user import refusals

USERS = [f"user-{number}" for number in range(40)]


@pytest.fixture(params=["single", "cluster", "memory"])
async def at(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Makes engines for an administrator, who is no worker's user: that one may not SCAN."""
    if request.param == "memory":
        memory = Memory()
        yield lambda prefix="": MemorySessions(memory=memory, prefix=prefix)
        return
    place: Place = request.getfixturevalue(f"shared_{request.param}")
    place.admin.flushall()
    pipeline = Pipeline(place.url.replace("://sessions@", "://"), timeout_seconds=5)
    yield lambda prefix="": RedisSessions(pipeline, prefix=prefix)
    await pipeline.close()
    assert refusals(place) == []


async def listed(engine: RedisSessions, most: int) -> list[tuple[str, str]]:
    """User and agent of each session, by as many calls as it takes."""
    found, cursor = await engine.everybody(most=most)
    while cursor:
        more, cursor = await engine.everybody(cursor, most)
        found += more
    return [(user, device.agent) for user, device in found]


async def test_all_are_listed(at: Any) -> None:
    """By cursor everybody's sessions are told, on each node of a cluster, those before a login with no name."""
    engine = at()
    ids = {user: await engine.create(user, agent=f"of {user}") for user in USERS}
    await engine.create(None, {"cart": 1})
    gone = await engine.load(ids.pop("user-3"))
    assert gone is not None
    await engine.destroy(gone)

    expected = {(user, f"of {user}") for user in ids} | {("", "")}
    assert set(await listed(engine, most=7)) == expected
    assert await engine.count() == len(expected)


async def test_a_call_is_bounded(at: Any) -> None:
    """One call looks at few keys, however many sessions there are."""
    engine = at()
    for user in USERS:
        await engine.create(user)
    found, cursor = await engine.everybody(most=5)

    assert len(found) < len(USERS) / 2
    assert cursor


@pytest.mark.parametrize("prefix", ["shop:", "a*", "b?c", "[d]"])
async def test_only_of_this_application(at: Any, prefix: str) -> None:
    """Another application's sessions on the same Redis are not told, whatever its prefix."""
    ours, others = at(prefix), at("abc:")
    await ours.create("ann")
    await others.create("bob")

    assert await listed(ours, most=10) == [("ann", "")]
    assert (await ours.count(), await others.count(), await at().count()) == (1, 1, 0)


async def test_none(at: Any) -> None:
    """With nobody there is nothing to list, and a cursor that is none is refused."""
    assert await listed(at(), most=10) == []
    assert await at().count() == 0
    with pytest.raises(ValueError, match="invalid literal"):
        await at().everybody("x:y")
