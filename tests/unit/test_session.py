"""The session as a mapping: what it notices, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.sessions.codec import CorruptJson, NotPlainJson, encode
from app.sessions.session import BadKey, Changes, Session, without

FACTS = b"[100, 0, 90000, 95000, 35000, 150000]"


def session_with(data: bytes) -> Session:
    """As load.lua tells of it."""
    return Session(b'[%s,0,false,false,1,"ann",%s]' % (FACTS, data), "f" * 64, "abcd")


def session_of(**data: Any) -> Session:
    return session_with(encode(data))


def test_a_mapping() -> None:
    """It reads, lists, counts and pops as a dict does."""
    session = session_of(a=1, b=None)
    assert (dict(session), len(session), "b" in session) == ({"a": 1, "b": None}, 2, True)
    assert (session.get("b", 2), session.get("c", 3), session.pop("a")) == (None, 3, 1)
    assert session.setdefault("n", []) == []
    with pytest.raises(KeyError):
        session["missing"]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["cart"].update(n=2),
        lambda s: s["cart"]["items"].append(1),
        lambda s: s.get("cart").clear(),
        lambda s: dict(s)["cart"].update(n=3),
        lambda s: next(iter(s.values())).update(n=4),
        lambda s: next(value for _, value in s.items()).update(n=5),
        lambda s: s.setdefault("cart", {}).update(n=6),
        lambda s: s.__setitem__("cart", {"n": 1}),
    ],
)
def test_nested_changes(change: Callable[[Session], object]) -> None:
    """A change inside a value is noticed by whichever way the value was reached."""
    session = session_of(cart={"n": 1, "items": []})
    change(session)
    assert session.changed
    assert session.changes().keys() == {"cart"}


@pytest.mark.parametrize(
    "use",
    [
        lambda s: dict(s),
        lambda s: s["cart"],
        lambda s: s.__setitem__("a", 1),
        lambda s: s.update(new=1) or s.pop("new"),
        lambda s: s.pop("missing", None),
        lambda s: s["cart"].setdefault("n", 5),
        lambda s: s["cart"].update(n=2) or s["cart"].update(n=1),
    ],
)
def test_no_change(use: Callable[[Session], object]) -> None:
    """Reading, and changing back, is no change."""
    session = session_of(a=1, cart={"n": 1})
    use(session)
    assert not session.changed
    assert session.changes() == {}


def test_only_what_changed() -> None:
    """A change names the fields to write and to delete, and no other."""
    session = session_of(a=1, b=2, c=3)
    session["a"], session["d"] = 10, 4
    del session["b"]
    assert session.changes() == {"a": b"10", "d": b"4", "b": None}


def test_types_differ() -> None:
    """1, true and 1.0 are different values."""
    for old, new in ((1, True), (1, 1.0), (0, False)):
        session = session_of(a=old)
        session["a"] = new
        assert session.changed


def test_saved_and_changed_again() -> None:
    """After a save only later changes count, inside values handed out before it too."""
    session = session_of(cart=[1])
    cart = session["cart"]
    cart.append(2)
    session.was_saved(session.changes(), 2)
    assert (session.changed, session.version) == (False, 2)
    cart.append(3)
    assert session.changes() == {"cart": b"[1,2,3]"}


def test_refusals_leave_the_value() -> None:
    """A refused assignment raises where it is made and changes nothing."""
    session = session_of(a=1)
    with pytest.raises(NotPlainJson):
        session["a"] = object()
    with pytest.raises(BadKey):
        session[""] = 1
    assert dict(session) == {"a": 1}
    assert not session.changed


def test_what_json_cannot_carry_may_be_replaced() -> None:
    """A value that another program wrote and that could not be saved here can be replaced or deleted."""
    for text in (b'{"a":NaN}', b'{"a":"\\ud800"}', b'{"a":9007199254740993}'):
        session = session_with(text)
        session["a"] = 1
        assert session.changes() == {"a": b"1"}
        del session["a"]
        assert session.changes() == {"a": None}


def test_forgotten_changes() -> None:
    """Forgotten changes are gone from the session in hand too, nested ones included."""
    session = session_of(cart={"n": 1}, a=1)
    session["cart"]["n"], session["b"] = 2, 2
    del session["a"]
    session.forget_changes()
    assert dict(session) == {"cart": {"n": 1}, "a": 1}
    assert session.changes() == {}


def test_corrupt_from_the_start() -> None:
    """Stored text that is no JSON shows at once, not at the first use."""
    with pytest.raises(CorruptJson):
        session_with(b'{"a":{}')


def test_times() -> None:
    """The times left are counted from when the session was loaded."""
    times = session_of().times
    assert (times.now, times.created, times.touched) == (100.0, 90.0, 95.0)
    assert (times.idle_expires_in, times.absolute_expires_in) == (30.0, 50.0)


def test_printed() -> None:
    """Printing a session shows none of its data."""
    assert "hunter2" not in repr(session_of(password="hunter2"))


@pytest.mark.parametrize(
    ("before", "sent", "now", "left"),
    [
        ({}, {"n": 1}, {"n": 1}, {}),
        ({"a": 1}, {"a": 1, "n": 1}, {"a": 1, "n": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1, "n": 1}, {"n": 1}, {}),
        ({"n": 5}, {"n": 6}, {"n": 6}, {"n": 5}),
        ({}, {"n": 1}, {"n": 1, "late": 2}, {"late": 2}),
        ({}, {"n": 1}, {"n": 7}, {"n": 7}),
        ({"a": 1}, {"n": 1}, {"n": 1}, {"a": 1}),
        ({"a": None}, {"a": None, "n": 1}, {"a": None, "n": 1}, {"a": None}),
        ({}, {"a": None}, {"a": None}, {}),
    ],
)
def test_taken_back(
    before: dict[str, Any], sent: dict[str, Any], now: dict[str, Any], left: dict[str, Any]
) -> None:
    """Of what is unsaved, an update takes back its own part alone: neither what was before nor came since."""

    def changes(values: dict[str, Any]) -> Changes:
        return {key: None if value is None else encode(value) for key, value in values.items()}

    assert without(changes(now), changes(sent), changes(before)) == changes(left)
