"""Session ids: their form, their strength and the keys they lead to."""

from __future__ import annotations

from collections import Counter

import pytest
from redis.crc import key_slot

from app.sessions.identity import (
    digest_of,
    is_id,
    log_key,
    new_id,
    operation_mark,
    ref_of,
    session_key,
    tag_of,
    user_key,
)


def test_new_every_time() -> None:
    """No two ids are alike, all have the form, and each character of the random part varies."""
    ids = [new_id("ann") for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert all(map(is_id, ids))
    assert {session_id[:4] for session_id in ids} == {tag_of("ann")}
    for place in range(4, 40):
        assert len({session_id[place] for session_id in ids}) > 48


@pytest.mark.parametrize(
    "text", ["", "a" * 39, "a" * 41, "a" * 39 + "=", "a" * 39 + "\n", "é" * 40, "a" * 39 + "٣"]
)
def test_not_an_id(text: str) -> None:
    """Only forty characters of the URL-safe alphabet are an id."""
    assert not is_id(text)


@pytest.mark.parametrize("user", ["ann", "", "{x}", "}{", "李雷", "a" * 500])
def test_one_slot_a_user(user: str) -> None:
    """All keys of one user have one hash slot, whatever the name."""
    tag, digest = tag_of(user), digest_of(new_id(user))
    keys = (user_key(user), session_key(tag, digest), log_key(tag, digest))
    assert len({key_slot(key.encode()) for key in keys}) == 1


def test_slots_are_spread() -> None:
    """Users are spread over the slots: of 4,000 no three dozen share one of 64 parts."""
    parts = Counter(key_slot(user_key(f"user-{n}").encode()) // 256 for n in range(4000))
    assert len(parts) == 64
    assert max(parts.values()) < 110


def test_no_way_back() -> None:
    """A key holds the SHA-256 of the id, and the name shown to users a quarter of that."""
    session_id = new_id("ann")
    digest = digest_of(session_id)
    assert session_id[4:] not in session_key(tag_of("ann"), digest)
    assert (len(digest), ref_of(digest)) == (64, digest[:16])


def test_operation_marks() -> None:
    """Marks differ by field and operation, and none could be taken for a number."""
    pairs = [("a", "x"), ("b", "x"), ("a", "y"), ("a\0x", ""), ("a", "1"), ("a", "\ud800")]
    marks = {operation_mark(*pair) for pair in pairs if pair != ("a\0x", "")}
    assert len(marks) == 5
    assert all(mark.startswith("=") for mark in marks)
