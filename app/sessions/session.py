"""One visitor's session: a mutable mapping that knows what changed.

Values are plain JSON.  Changes inside a list or dict are noticed without reassignment, because what
was handed out is compared with what was loaded; a session that only read numbers and text costs
nothing to check.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .codec import decode, encode, spell
from .identity import ref_of

MAX_KEY_BYTES = 128


class BadKey(ValueError):
    """A key that cannot name a field: not text, empty, or longer than 128 bytes."""


@dataclass(frozen=True)
class Changes:
    """What a save has to write: JSON text by key, and keys to delete."""

    sets: dict[str, bytes]
    deletes: list[str]

    def __bool__(self) -> bool:
        return bool(self.sets or self.deletes)


class Times(NamedTuple):
    """The life of a session in Unix seconds, by Redis's clock; `now` is when it was loaded."""

    now: float
    created: float
    touched: float
    idle_deadline: float
    absolute_deadline: float

    @property
    def idle_expires_in(self) -> float:
        """Seconds from the load until it ends if it is not used."""
        return self.idle_deadline - self.now

    @property
    def absolute_expires_in(self) -> float:
        """Seconds from the load until it ends in any case."""
        return self.absolute_deadline - self.now


class Session(MutableMapping[str, Any]):
    """The data of one live session as it was when loaded, with the changes made since.

    It holds no id: `digest` (the SHA-256 that names it in Redis) cannot be turned into a cookie.
    Assigning raises NotPlainJson or BadKey at once, where the mistake is.
    """

    # One is made for every request: slots spare it a dict.
    __slots__ = (
        *("digest", "user", "version", "renewal_due", "ended"),
        *("_times_ms", "_text", "_values", "_saved", "_suspects"),
    )

    def __init__(
        self,
        digest: str,
        user: str,
        version: int,
        times_ms: Sequence[int],
        text: bytes,
        renewal_due: bool = False,
    ) -> None:
        """From what Redis holds: `text` is the data as one JSON object.  Raises CorruptJson."""
        self.digest = digest
        self.user = user
        self.version = version
        self.renewal_due = renewal_due
        self.ended = False  # a save found it gone: what changed since was dropped
        self._times_ms = times_ms
        self._text = text
        self._values: dict[str, Any] = decode(text)
        self._saved: dict[str, Any] | None = None  # read from the text when needed
        self._suspects: set[str] = set()  # keys that may differ from what is saved

    @property
    def times(self) -> Times:
        """When it was loaded, created and touched, and until when it lives."""
        return Times(*(ms / 1000 for ms in self._times_ms))

    @property
    def ref(self) -> str:
        """A name for this session that its user may see and send back; of no use in a cookie."""
        return ref_of(self.digest)

    @property
    def changed(self) -> bool:
        """Whether there is anything to save."""
        return bool(self._suspects) and bool(self.changes())

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if _nests(value):
            self._suspects.add(key)  # the caller may change it in place
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """As of any mapping; spelt out because it is on the way of every request."""
        return self[key] if key in self._values else default

    def __setitem__(self, key: str, value: Any) -> None:
        check_key(key)
        encode(value)
        self._values[key] = value
        self._suspects.add(key)

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._suspects.add(key)

    def __bool__(self) -> bool:
        """A live session is true without any data too: None alone means anonymous."""
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Session {self.digest[:8]} version {self.version}>"

    def changes(self) -> Changes:
        """What differs from Redis as it was loaded.  Raises NotPlainJson for a value spoilt in place."""
        sets, deletes, saved = {}, [], self._as_saved()
        for key in self._suspects:
            if key in self._values:
                text = encode(self._values[key])
                # Compared as texts: 1, 1.0 and true are equal values.
                if key not in saved or spell(saved[key]) != text:
                    sets[key] = text
            elif key in saved:
                deletes.append(key)
        return Changes(sets, deletes)

    def was_saved(self, changes: Changes, version: int) -> None:
        """Redis now holds `changes` as `version`; later saves are compared with that."""
        saved = self._as_saved()
        saved.update((key, decode(text)) for key, text in changes.sets.items())
        for key in changes.deletes:
            saved.pop(key, None)
        self._suspects = {
            key for key in self._suspects if key in self._values and _nests(self._values[key])
        }
        self.version = version

    def was_stored(self, key: str, value: int | None, version: int) -> None:
        """Redis itself changed one field (an increment or a pop): take over the outcome."""
        for values in (self._values, self._as_saved()):
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        self._suspects.discard(key)
        self.version = version

    def was_replaced_by(self, fresh: Session) -> None:
        """Forget what was loaded and changed, and become `fresh`."""
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def forget_changes(self) -> None:
        """Be again what is saved."""
        self._values = decode(spell(self._as_saved()))
        self._suspects.clear()

    def _as_saved(self) -> dict[str, Any]:
        """What Redis holds, apart from what was handed out and may have been changed in place."""
        if self._saved is None:
            self._saved = decode(self._text)
        return self._saved


def check_key(key: str) -> None:
    """Raise BadKey, with the reason, unless `key` can name a field."""
    if not isinstance(key, str) or not key:
        raise BadKey("a session key is text and not empty")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise BadKey("a lone surrogate is not text") from error
    if size > MAX_KEY_BYTES:
        raise BadKey(f"a session key has at most {MAX_KEY_BYTES} bytes, this one has {size}")


def _nests(value: Any) -> bool:
    return type(value) is dict or type(value) is list
