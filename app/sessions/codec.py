"""Plain JSON in and out of Redis: ujson behind two functions, with its lenient corners closed.

ujson writes NaN, calls `__json__` hooks, turns Decimal into float and lets lone surrogates through;
each of these would come back as something else or break a reader, so `encode` refuses them first.
"""

from __future__ import annotations

import math
from typing import Any

import ujson

MAX_DEPTH = 32
MAX_EXACT_INTEGER = 2**53 - 1  # RFC 8259 section 6: beyond it other JSON readers lose digits


class NotPlainJson(ValueError):
    """A value is not what JSON can carry unchanged; the text says which part and why."""


class CorruptJson(ValueError):
    """Text read from Redis is not JSON: somebody else wrote it, or it was damaged."""


def encode(value: Any) -> bytes:
    """The JSON text of `value`, UTF-8.

    Takes exactly str, int within 2^53, finite float, bool, None, list and dict with str keys, nested
    at most 32 deep; anything else, subclasses included, raises NotPlainJson with the reason.
    """
    _check(value, MAX_DEPTH)
    return spell(value)


def spell(value: Any) -> bytes:
    """The same text for a value that was read from Redis, which may hold what `encode` refuses."""
    text = ujson.dumps(
        value, escape_forward_slashes=False, ensure_ascii=False, encode_html_chars=False
    )
    return text.encode(errors="surrogatepass")


def decode(text: bytes) -> Any:
    """The value that `encode` made `text` of.  Raises CorruptJson for what is not JSON in UTF-8."""
    try:
        return ujson.loads(text)
    except ValueError as error:
        raise CorruptJson(str(error)) from error


def _check(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is str:
        check_text(value)
    elif kind is int:
        if not -MAX_EXACT_INTEGER <= value <= MAX_EXACT_INTEGER:
            raise NotPlainJson("an integer beyond 2^53 - 1 loses digits in other JSON readers")
    elif kind is float:
        if not math.isfinite(value):
            raise NotPlainJson(f"{value} is not a JSON number")
    elif kind is list or kind is dict:
        _check_nested(value, depth - 1)
    elif value is not None and kind is not bool:
        raise NotPlainJson(
            f"{kind.__name__} is not plain JSON (str, int, float, bool, None, list, dict)"
        )


def _check_nested(value: list[Any] | dict[Any, Any], depth: int) -> None:
    if depth < 0:
        raise NotPlainJson(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                raise NotPlainJson(f"a key of type {type(key).__name__} would come back as text")
            check_text(key)
        value = list(value.values())
    for item in value:
        _check(item, depth)


def check_text(text: str, refusal: type[NotPlainJson] = NotPlainJson) -> None:
    """Raise `refusal` unless `text` has an encoding."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise refusal("a lone surrogate is not text") from error
