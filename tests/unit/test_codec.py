"""JSON in and out of Redis: what goes in comes back the same, and the rest is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sessions.codec import MAX_DEPTH, CorruptJson, NotPlainJson, decode, encode

texts = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def alike(one: Any, other: Any) -> bool:
    """Equal, of the same type all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


@given(plain)
def test_comes_back(value: Any) -> None:
    """Plain JSON comes back equal, types included, and the standard library reads it alike."""
    text = encode(value)
    assert alike(decode(text), value)
    assert alike(json.loads(text), value)


@given(plain)
def test_one_spelling(value: Any) -> None:
    """What was read is written as the same bytes, so that reading alone is never a change."""
    assert encode(decode(encode(value))) == encode(value)


class Text(str):
    """A subclass, whose extras JSON would lose."""


class Sneaky:
    def __json__(self) -> str:
        return "1"


@pytest.mark.parametrize(
    "value",
    [
        math.nan, math.inf, -math.inf, 2**53, -(2**53), 2**80, "\ud800", {"\udc00": 1}, b"x",
        bytearray(b"x"), (1,), {1}, {1: 2}, {None: 1}, {Text("k"): 1}, Text("x"), Sneaky(), object(), 1j,
    ],
)  # fmt: skip
def test_refused(value: Any) -> None:
    """What JSON cannot carry unchanged is refused, at the top and inside."""
    for spoilt in (value, [value], {"k": [1, value]}):
        with pytest.raises(NotPlainJson):
            encode(spoilt)


def test_depth() -> None:
    """Nesting is bounded before anything recurses, also where a value contains itself."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NotPlainJson, match="deeper"):
        encode(loop)
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = {"k": value}
    assert decode(encode(value)) == value
    with pytest.raises(NotPlainJson, match="deeper"):
        encode([value])


@pytest.mark.parametrize("text", [b"", b" ", b"{", b"nul", b'"\xff"', b"\xff", b"[1,]", b'{"a"}'])
def test_corrupt(text: bytes) -> None:
    """Bytes that are not JSON in UTF-8 raise CorruptJson and nothing else."""
    with pytest.raises(CorruptJson):
        decode(text)


@given(st.binary(max_size=40))
def test_any_bytes(text: bytes) -> None:
    """Whatever bytes Redis holds, decoding ends with a value or CorruptJson."""
    try:
        decode(text)
    except CorruptJson:
        pass
