"""What a session may hold: refused with a reason before anything is written, the old data intact."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.sessions import BadKey, Limits, NotPlainJson, RedisSessions, SessionTooLarge
from tests.integration.conftest import Engines
from tests.integration.loading import load

OLD = {"text": "old", "nested": {"a": [1]}}


class Sneaky:
    """An object that ujson would write as whatever it likes."""

    def __json__(self) -> str:
        return '{"injected": true}'


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


NOT_JSON: list[tuple[Any, str]] = [
    (float("nan"), "nan is not a JSON number"),
    (float("inf"), "inf is not a JSON number"),
    (2**80, "2\\^53"),
    ("\ud800", "surrogate"),
    ({"\udfff": 1}, "surrogate"),
    (b"bytes", "bytes is not plain JSON"),
    (Decimal("1.5"), "Decimal is not plain JSON"),
    (Sneaky(), "Sneaky is not plain JSON"),
    ((1, 2), "tuple is not plain JSON"),
    ({1, 2}, "set is not plain JSON"),
    ({1: 2}, "a key of type int"),
    (nested(33), "deeper than 32"),
]


@pytest.mark.parametrize(("value", "reason"), NOT_JSON)
async def test_not_json(store: RedisSessions, value: Any, reason: str) -> None:
    """What JSON cannot carry unchanged is refused at once with the reason, also inside a value."""
    session_id = await store.create("ann", OLD)
    session = await load(store, session_id)
    with pytest.raises(NotPlainJson, match=reason):
        session["text"] = value
    session["nested"]["a"].append(value)
    with pytest.raises(NotPlainJson, match=reason):
        await store.save(session)
    with pytest.raises(NotPlainJson, match=reason):
        await store.create("ann", {"text": value})
    assert dict(await load(store, session_id)) == OLD


@pytest.mark.parametrize(
    "value",
    ["", "é李\x00\u2028</script>/", 0, -1, 2**53 - 1, 1.5, 1e300, 0.1, True, False, None, [], {}],
)
async def test_plain_json_comes_back(store: RedisSessions, value: Any) -> None:
    """Plain JSON comes back as what it was, type included, and deep nesting too."""
    session_id = await store.create("ann", {"value": value})
    session = await load(store, session_id)
    assert session["value"] == value
    assert type(session["value"]) is type(value)
    session["deep"] = nested(32)
    assert await store.save(session)
    assert (await load(store, session_id))["deep"] == nested(32)


@pytest.mark.parametrize("key", ["", "k" * 129, "é" * 65, "\ud800", 1, None, b"k"])
async def test_bad_keys(store: RedisSessions, key: Any) -> None:
    """A key that is no text, empty or longer than 128 bytes is refused in every method."""
    session_id = await store.create("ann", OLD)
    session = await load(store, session_id)
    with pytest.raises(BadKey):
        session[key] = 1
    with pytest.raises(BadKey):
        await store.increment(session, key)
    with pytest.raises(BadKey):
        await store.create("ann", {key: 1})
    assert dict(await load(store, session_id)) == OLD


@pytest.mark.parametrize("key", ["k" * 128, "é" * 64, "d:", "user", "deadline", "\n", " "])
async def test_any_other_key(store: RedisSessions, key: str) -> None:
    """Any other text may be a key, also the names that the engine uses itself."""
    session_id = await store.create("ann")
    session = await load(store, session_id)
    session[key] = "mine"
    assert await store.save(session)
    session = await load(store, session_id)
    assert dict(session) == {key: "mine"}
    assert session.user == "ann"


async def test_bytes(engines: Engines) -> None:
    """A change that takes the session over its bytes is refused whole; one that fits is not."""
    (store,) = engines(1, max_bytes=100)
    session_id = await store.create("ann", {"text": "old"})
    session = await load(store, session_id)
    session["other"] = 1
    session["text"] = "x" * 100
    with pytest.raises(SessionTooLarge, match="100"):
        await store.save(session)
    assert dict(await load(store, session_id)) == {"text": "old"}
    session["text"] = "x" * 50
    assert await store.save(session)


async def test_exact_cap(engines: Engines) -> None:
    """The cap counts keys and JSON text: exactly the cap fits, one byte more does not."""
    (store,) = engines(1, max_bytes=100)
    session = await load(store, await store.create("ann"))
    # The field is stored as "d:k" and the text with its quotes: 3 + 2 bytes.
    session["k"] = "x" * 95
    assert await store.save(session)
    session["k"] = "x" * 96
    with pytest.raises(SessionTooLarge, match="101 bytes"):
        await store.save(session)


async def test_fields(engines: Engines) -> None:
    """One field more than allowed is refused, by save, update and increment alike."""
    (store,) = engines(1, max_fields=2)
    session_id = await store.create("ann", {"a": 1, "b": 2})
    session = await load(store, session_id)
    session["c"] = 3
    with pytest.raises(SessionTooLarge, match="3 fields"):
        await store.save(session)
    del session["c"]
    with pytest.raises(SessionTooLarge, match="3 fields"):
        await store.update(session, lambda s: s.update(c=3))
    del session["c"]
    with pytest.raises(SessionTooLarge, match="3 fields"):
        await store.increment(session, "c")
    assert dict(await load(store, session_id)) == {"a": 1, "b": 2}
    assert await store.increment(session, "a") == 2


async def test_a_login_keeps_the_caps(engines: Engines) -> None:
    """The caps hold for what a session begins with as well."""
    (store,) = engines(1, max_bytes=100, max_fields=2)
    with pytest.raises(SessionTooLarge, match="bytes"):
        await store.create("ann", {"text": "x" * 100})
    with pytest.raises(SessionTooLarge, match="fields"):
        await store.create("ann", dict.fromkeys("abc", 1))
    assert await store.devices("ann") == []


async def test_parallel_writers_share_the_caps(engines: Engines) -> None:
    """Parallel writers of different keys cannot take a session over its caps together."""
    four = engines(4, max_fields=8)
    session_id = await four[0].create("ann")
    sessions = [await load(four[n % 4], session_id) for n in range(20)]
    for n, session in enumerate(sessions):
        session[f"k{n}"] = n
    saves = [four[n % 4].save(session) for n, session in enumerate(sessions)]
    answers = await asyncio.gather(*saves, return_exceptions=True)
    assert sum(answer is True for answer in answers) == 8
    assert sum(isinstance(answer, SessionTooLarge) for answer in answers) == 12
    assert len(await load(four[0], session_id)) == 8


async def test_shrinking_is_always_allowed(engines: Engines) -> None:
    """A session over a cap that was lowered may be made smaller, step by step."""
    (roomy,) = engines(1)
    (tight,) = engines(1, max_bytes=50, max_fields=1)
    session_id = await roomy.create("ann", {"a": "x" * 100, "b": "y" * 100, "c": 1})
    session = await load(tight, session_id)
    del session["a"]
    assert await tight.save(session)
    del session["c"]
    assert await tight.save(session)
    session["d"] = 1
    with pytest.raises(SessionTooLarge):
        await tight.save(session)
    assert dict(await load(roomy, session_id)) == {"b": "y" * 100}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"renew_seconds": 4, "renew_grace_seconds": 4}, "renew_grace_seconds=4"),
        ({"renew_seconds": 4, "renew_grace_seconds": 10}, "renew_grace_seconds=10"),
        ({"renew_seconds": -1}, "renew_seconds=-1"),
        ({"renew_grace_seconds": -1}, "renew_grace_seconds=-1"),
        ({"touch_seconds": -0.1}, "touch_seconds"),
        ({"idle_seconds": 0}, "idle_seconds"),
        ({"idle_seconds": float("nan")}, "idle_seconds"),
        ({"absolute_seconds": -5}, "absolute_seconds"),
        ({"absolute_seconds": float("inf")}, "absolute_seconds"),
        ({"max_per_user": 0}, "max_per_user"),
        ({"max_bytes": -1}, "max_bytes"),
        ({"max_fields": 0}, "max_fields"),
    ],
)
def test_impossible_limits(wrong: dict[str, float], named: str) -> None:
    """Limits that no session could keep are refused at once, by the name of the setting."""
    with pytest.raises(ValueError, match=named):
        Limits(**wrong)  # type: ignore[arg-type]


async def test_kept_fields_count(engines: Engines) -> None:
    """What moves over at a login counts against the caps; over them nothing happens, the old session lives."""
    (large,), (small,) = engines(1), engines(1, max_bytes=100, max_fields=3)
    data = {"a": "x" * 60, "b": "x" * 60}
    for keep, more, reason in (
        (("a", "b"), {}, "bytes"),
        (("a",), {"c": "y" * 60}, "bytes"),
        (("a",), {"c": 1, "d": 2, "e": 3}, "fields"),
    ):
        session_id = await large.create("ann", data)
        session = await load(large, session_id)
        with pytest.raises(SessionTooLarge, match=reason):
            await small.create("ann", more, replacing=session, keep=keep)
        assert dict(await load(large, session_id)) == data
        await small.create("ann", {"c": 1}, replacing=session, keep=("a",))
        await large.end_all("ann")


async def test_data_wins_over_kept_fields(store: RedisSessions) -> None:
    """A key that is given at a login is not taken from the session before."""
    old = await load(store, await store.create("ann", {"theme": "dark", "size": 1}))
    new = await store.create("ann", {"theme": "light"}, replacing=old, keep=("theme", "size"))
    assert dict(await load(store, new)) == {"theme": "light", "size": 1}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"user": "\ud800"}, BadKey),
        ({"data": {"\ud800": 1}}, BadKey),
        ({"keep": ("\ud800",)}, BadKey),
        ({"data": {"a": "\ud800"}}, NotPlainJson),
    ],
)
async def test_half_characters_at_login(
    store: RedisSessions, given: dict[str, Any], error: type[Exception]
) -> None:
    """Half a surrogate pair in a name, a key or a value is refused at login as anywhere else."""
    with pytest.raises(error, match="surrogate"):
        await store.create(**{"user": "ann"} | given)
    assert await store.devices("ann") == []
