"""One visitor's session: a mutable mapping that knows what changed.

Values are plain JSON.  Changes inside a list or dict are noticed without reassignment, because what
was handed out is compared with what was loaded; a session that only read numbers and text costs
nothing to check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

from .codec import NotPlainJson, check_text, decode, encode, spell
from .identity import ref_of

MAX_KEY_BYTES = 128
_ABSENT = b""  # as the JSON text of a key that is not there
Changes = Mapping[str, bytes | None]  # JSON text by key, None for one to be deleted


class BadKey(NotPlainJson):
    """A name that Redis cannot carry: a key that is empty or over 128 bytes, or what is not text."""


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

    It holds no id but one whose successor is due; `digest`, which names it in Redis, makes no cookie.
    Assigning raises NotPlainJson or BadKey at once, where the mistake is.
    """

    # One is made for every request: slots spare it a dict.
    __slots__ = (
        *("anonymous", "basis", "digest", "ended", "lasting", "renewable_id", "tag", "touch_ms"),
        *("user", "version", "_facts", "_saved", "_suspects", "_text", "_turn", "_values"),
    )

    def __init__(self, text: bytes, digest: str, tag: str, session_id: str = "") -> None:
        """From what load.lua answers.  Raises ValueError, as CorruptJson, where that is no session."""
        self._facts, self.touch_ms, renewal_due, lasting, version, user, values = decode(text)
        self.digest = digest
        self.tag = tag
        self.user: str = user or ""
        self.version: int = version
        self.anonymous = user is None  # it began before a login
        self.lasting: bool = lasting  # it was given an absolute lifetime of its own
        self.renewable_id = session_id if renewal_due else ""  # that has a successor
        self.ended = False  # known to have ended: what changed since was dropped
        self._text = text
        self._values: dict[str, Any] = values
        self._saved: dict[str, Any] | None = None  # read from the text when needed
        self._suspects: set[str] = set()  # keys that may differ from what is saved
        # The newest version of which all of the data is here: behind `version` once others wrote meanwhile.
        self.basis: int = version
        self._turn: asyncio.Lock | None = None

    @property
    def times(self) -> Times:
        """When it was loaded, created and touched, and until when it lives."""
        seconds, microseconds, created, touched, idle, deadline = self._facts
        idle_deadline = min(touched + idle, deadline)
        times_ms = seconds * 1000 + microseconds // 1000, created, touched, idle_deadline, deadline
        return Times(*(ms / 1000 for ms in times_ms))

    @property
    def ref(self) -> str:
        """A name for this session that its user may see and send back; of no use in a cookie."""
        return ref_of(self.digest)

    @property
    def renewal_due(self) -> bool:
        """Whether `renew` has a new id for this visitor, or will have one."""
        return bool(self.renewable_id)

    @property
    def turn(self) -> asyncio.Lock:
        """Held by an update: the next one of this object begins with what it left."""
        if self._turn is None:
            self._turn = asyncio.Lock()
        return self._turn

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
        changes: dict[str, bytes | None] = {}
        saved = self._as_saved()
        for key in self._suspects:
            if key in self._values:
                text = encode(self._values[key])
                # Compared as texts: 1, 1.0 and true are equal values.
                if key not in saved or spell(saved[key]) != text:
                    changes[key] = text
            elif key in saved:
                changes[key] = None
        return changes

    def texts_of(self, keys: Iterable[str]) -> dict[str, bytes]:
        """What Redis held of these keys when last heard of, as JSON texts."""
        saved = self._as_saved()
        return {key: spell(saved[key]) for key in keys if key in saved}

    def text_of(self, key: str) -> bytes | None:
        """The value in hand as JSON text; empty for none, None for one spoilt in place."""
        try:
            return encode(self._values[key]) if key in self._values else _ABSENT
        except NotPlainJson:
            return None

    def was_saved(self, changes: Changes, version: int) -> None:
        """Redis now holds `changes` as `version`.  What was changed meanwhile is still to be saved."""
        saved = self._as_saved()
        apply(changes, saved)
        self._suspects = {key for key in self._suspects if self._may_differ(key, saved)}
        self._note(version)

    def was_stored(
        self,
        key: str,
        value: int | None,
        version: int,
        seen: bytes | None = None,
        *,
        wrote: bool = True,
    ) -> None:
        """Redis itself changed one field (an increment or a pop): take over the outcome.

        With `seen`, the `text_of` the key before, a change made meanwhile stays and is still to be saved.
        Without `wrote` (a repeated operation) the version is that of somebody else's write, whose data is not here.
        """
        kept = seen is not None and self.text_of(key) != seen
        for values in (self._as_saved(), *(() if kept else (self._values,))):
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        if not kept:
            self._suspects.discard(key)
        self._note(version, wrote=wrote)

    def was_replaced_by(self, fresh: Session) -> None:
        """Forget what was loaded and changed, and become `fresh`."""
        for name in set(self.__slots__) - {"renewable_id", "_turn"}:
            setattr(self, name, getattr(fresh, name))

    def forget_changes(self) -> None:
        """Be again what is saved."""
        self._values = decode(spell(self._as_saved()))
        self._suspects.clear()

    def _note(self, version: int, *, wrote: bool = True) -> None:
        """This object wrote `version`; when others wrote in between, some of the data here is older."""
        if wrote and version == self.basis + 1:
            self.basis = version
        self.version = max(self.version, version)

    def _may_differ(self, key: str, saved: dict[str, Any]) -> bool:
        if key in self._values and _nests(self._values[key]):
            return True
        return self.text_of(key) != (spell(saved[key]) if key in saved else _ABSENT)

    def _as_saved(self) -> dict[str, Any]:
        """What Redis holds, apart from what was handed out and may have been changed in place."""
        if self._saved is None:
            self._saved = decode(self._text)[-1]
        return self._saved


def apply(changes: Changes, to: MutableMapping[str, Any]) -> None:
    """Make these changes; in a session they are to be saved later."""
    for key, text in changes.items():
        if text is None:
            to.pop(key, None)
        else:
            to[key] = decode(text)


def without(changes: Changes, sent: Changes, before: Changes) -> Changes:
    """What is left of `changes` when all that turned `before` into `sent` is taken back."""
    left = {key: text for key, text in changes.items() if (key, text) not in sent.items()}
    # What `sent` still had and is there no more was saved on its own.
    return left | {
        k: text for k, text in before.items() if k not in left and (k in changes or k not in sent)
    }


def check_key(key: str) -> None:
    """Raise BadKey, with the reason, unless `key` can name a field."""
    check_name(key)
    if not key:
        raise BadKey("a session key is not empty")
    if (size := len(key.encode())) > MAX_KEY_BYTES:
        raise BadKey(f"a session key has at most {MAX_KEY_BYTES} bytes, this one has {size}")


def check_name(name: str) -> None:
    """Raise BadKey, with the reason, unless `name` is text that has an encoding."""
    if not isinstance(name, str):
        raise BadKey(f"a name is text, not {type(name).__name__}")
    check_text(name, BadKey)


def _nests(value: Any) -> bool:
    return type(value) is dict or type(value) is list
