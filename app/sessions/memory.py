"""The engine without Redis, for tests of handlers: the same methods on one process's memory.

No worker imports this module: a test writes `from app.sessions.memory import MemorySessions`.
Each method here does what the script of its name does, and the engine's own tests hold both to the same
promises.  Nothing is shared between processes, and all is gone with the object.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from .codec import MAX_EXACT_INTEGER, spell
from .limits import Limits
from .lua import SCRIPTS
from .store import ANY_ID, KEEP_ALL, Event, RedisSessions
from .wire.calls import Command, Request, Script

Texts = dict[str, bytes]
_NAMES = {script.sha: name for name, script in SCRIPTS.items()}


class MemorySessions(RedisSessions):
    """Make one a test; there is nothing to close."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        memory: Memory | None = None,
        prefix: str = "",
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        """Engines with the same `memory` share their sessions, as workers share Redis."""
        super().__init__(memory or Memory(), limits, prefix=prefix, on_event=on_event)


@dataclass
class _Record:
    """One session; times in ms."""

    user: str | None
    created: int
    deadline: int
    touched: int
    own: tuple[int | None, int | None]
    labels: tuple[bytes, bytes]
    data: Texts
    version: int = 1
    expires: float = 0
    older: str = ""
    next: str = ""  # as older: the proof of an id, empty for the first
    salt: str = ""
    used: int | None = None
    operations: dict[str, int] = field(default_factory=dict)

    def weight(self, data: Texts) -> tuple[int, int]:
        """As the scripts count, which put two characters before each key."""
        return sum(2 + len(key.encode()) + len(text) for key, text in data.items()), len(data)


class _Life(NamedTuple):
    idle: int
    deadline: int


class Memory:
    """Takes the place of a Pipeline; several engines may share one, as workers share Redis."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Record] = {}
        self._indexes: dict[str, dict[str, int]] = {}

    def run(self, script: Script, keys: Sequence[str], args: Command) -> asyncio.Future[Any]:
        return self.send(Request(script, keys, args))

    def send(self, request: Request) -> asyncio.Future[Any]:
        """Done at once and whole, as a script is; told when the event loop comes round."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        _, sha, count, *words = request.command
        script = getattr(self, f"_{_NAMES[str(sha)]}")
        loop.call_soon(_tell, answer, script(words[: int(count)], *words[int(count) :]))
        return answer

    async def tags(self) -> list[str]:
        return ["0"]

    # ---- what the prelude does

    def _at(self, key: str) -> _Record | None:
        """The session there, unless Redis would have let it expire."""
        record = self._sessions.get(key)
        if record is not None and _now() >= record.expires:
            del self._sessions[key]
            return None
        return record

    def _life(self, record: _Record | None, idle: Any, absolute: Any) -> _Life | None:
        if record is None:
            return None
        own_idle, own_absolute = record.own
        lives = _Life(
            own_idle or int(idle),
            min(record.deadline, record.created + (own_absolute or int(absolute))),
        )
        over = _now() >= min(record.touched + lives.idle, lives.deadline)
        return None if over else lives

    def _living(self, key: str, idle: Any, absolute: Any) -> _Record | None:
        record = self._at(key)
        return None if self._life(record, idle, absolute) is None else record

    def _standing(self, record: _Record, proof: str, grace: Any) -> str:
        if proof == record.next:
            return "newest"
        over = record.used is not None and _now() >= record.used + int(grace)
        return "older" if record.next and proof == record.older and not over else ""

    def _in_use_since(self, record: _Record) -> int:
        if not record.next:
            return record.created
        return _now() if record.used is None else record.used

    def _open(self, key: str) -> _Record | None:
        record = self._at(key)
        return record if record is not None and _now() < record.deadline else None

    # ---- what the scripts do

    def _load(
        self, keys: Sequence[str], proof: Any, idle: Any, absolute: Any, throttle: Any,
        renew_age: Any, grace: Any,
    ) -> Any:  # fmt: skip
        record, now = self._at(keys[0]), _now()
        if record is None:
            return None
        life = self._life(record, idle, absolute)
        if life is None:
            return b"over"
        standing = "any" if proof == ANY_ID else self._standing(record, proof, grace)
        if not standing:
            return None
        stale = now - record.touched >= int(throttle)
        touched = now if stale else record.touched
        age = now - self._in_use_since(record)
        due = standing == "older" or (standing == "newest" and 0 < int(renew_age) <= age)
        facts = [now // 1000, now % 1000 * 1000, record.created, touched, life.idle, life.deadline]
        unused = bool(record.next) and proof == record.next and record.used is None
        left = min(record.touched + life.idle, life.deadline) - now if stale or unused else 0
        lasting = record.own[1] is not None
        about = [facts, left, due, lasting, record.version, record.user]
        data = b",".join(spell(key) + b":" + text for key, text in record.data.items())
        return spell(about)[:-1] + b",{" + data + b"}]"

    def _touch(
        self, keys: Sequence[str], proof: Any, idle: Any, absolute: Any, throttle: Any
    ) -> int:
        record, now = self._at(keys[0]), _now()
        life = self._life(record, idle, absolute)
        if record is None or life is None:
            self._sessions.pop(keys[0], None)
            return 0
        if now - record.touched >= int(throttle):
            record.touched, record.expires = now, min(now + life.idle, life.deadline)
        if record.next and proof == record.next and record.used is None:
            record.used = now
        return 1

    def _renew(
        self, keys: Sequence[str], proof: Any, salt: Any, fresh: Any, idle: Any, absolute: Any,
        age: Any, grace: Any,
    ) -> bytes | None:  # fmt: skip
        record = self._living(keys[0], idle, absolute)
        if record is None:
            return None
        standing = self._standing(record, proof, grace)
        if standing == "older":
            return record.salt.encode()
        if standing != "newest" or _now() - self._in_use_since(record) < int(age):
            return None
        record.older, record.next, record.salt, record.used = proof, fresh, salt, None
        return record.salt.encode()

    def _save(
        self, keys: Sequence[str], expected: Any, most_bytes: Any, most_fields: Any, count: Any,
        *words: Any,
    ) -> list[Any]:  # fmt: skip
        record = self._open(keys[0])
        if record is None:
            return [b"gone"]
        if expected not in ("", str(record.version)):
            return [b"conflict"]
        if not words:
            return [b"ok", record.version]
        sets = _pairs(words[: 2 * int(count)])
        dropped = {*sets, *words[2 * int(count) :]}
        after = {key: text for key, text in record.data.items() if key not in dropped} | sets
        caps = (int(most_bytes), int(most_fields))
        before = record.weight(record.data)
        if refused := _over(record.weight(after), caps, before):
            return refused
        record.data, record.version = after, record.version + 1
        return [b"ok", record.version]

    def _increment(
        self, keys: Sequence[str], key: Any, by: Any, operation: Any, remembered: Any,
        most_bytes: Any, most_fields: Any,
    ) -> list[Any]:  # fmt: skip
        record = self._open(keys[0])
        if record is None:
            return [b"gone"]
        if operation in record.operations:
            return [b"ok", record.operations[operation], record.version, b"repeated"]
        text = record.data.get(key)
        if text is not None and not text.removeprefix(b"-").isdigit():
            return [b"integer"]
        total = int(text or 0) + int(by)
        if abs(total) > MAX_EXACT_INTEGER:
            return [b"integer"]
        after = record.data | {key: b"%d" % total}
        caps = (int(most_bytes), int(most_fields))
        if text is None and (refused := _over(record.weight(after), caps, (0, 0))):
            return refused
        record.data, record.version = after, record.version + 1
        if operation:
            record.operations[operation] = total
            while len(record.operations) > int(remembered):
                del record.operations[next(iter(record.operations))]
        return [b"ok", total, record.version]

    def _pop(self, keys: Sequence[str], key: Any) -> list[Any]:
        record = self._open(keys[0])
        if record is None:
            return [b"gone"]
        value = record.data.pop(key, None)
        record.version += value is not None
        return [b"ok", value, record.version]

    def _members(self, keys: Sequence[str]) -> list[bytes]:
        index = self._indexes.get(keys[0], {})
        living = sorted((deadline, one) for one, deadline in index.items() if deadline > _now())
        return [digest.encode() for _, digest in living]

    def _devices(self, keys: Sequence[str], idle: Any, absolute: Any, *digests: Any) -> list[Any]:
        rows: list[list[Any]] = []
        for key, digest in zip(keys, digests, strict=True):
            rows.append([digest.encode()])
            if record := self._living(key, idle, absolute):
                rows[-1] += [record.created, record.touched, *record.labels]
        return rows

    def _everybody(
        self, keys: Sequence[str], cursor: Any, pattern: Any, most: Any, idle: Any, absolute: Any
    ) -> list[Any]:
        known = [key for key in sorted(self._sessions) if fnmatchcase(key, pattern)]
        end, rows = int(cursor) + int(most), []
        for key in known[int(cursor) : end]:
            if record := self._living(key, idle, absolute):
                digest = key.rpartition(":")[2].encode()
                facts = (record.created, record.touched, *record.labels)
                rows.append([(record.user or "").encode(), digest, *facts])
        return [b"%d" % (end if end < len(known) else 0), rows]

    def _destroy(self, keys: Sequence[str], reason: Any, count: Any, *words: Any) -> list[Any]:
        keep, digests = words[: int(count)], words[int(count) :]
        index = self._indexes.get(keys[0], {})
        ended: list[list[Any]] = []
        for digest, key in zip(digests, keys[1::2], strict=True):
            record = self._at(key)
            if record is not None:
                ended.append([digest.encode(), *(record.data.get(one) for one in keep)])
            self._sessions.pop(key, None)
            index.pop(digest, None)
        return ended

    def _create(
        self, keys: Sequence[str], digest: Any, kind: Any, name: Any, idle: Any, absolute: Any,
        own_idle: Any, own_absolute: Any, most: Any, most_bytes: Any, most_fields: Any,
        replaced: Any, agent: Any, address: Any, *words: Any,
    ) -> list[Any]:  # fmt: skip
        now, listed = _now(), kind == "user"
        keeps_all = words[0] == KEEP_ALL
        kept, rest = ((), words[1:]) if keeps_all else _counted(words, 1)
        initial, known = _counted(rest, 2)
        key_of = dict(zip(known, keys[2::2], strict=True))
        index = self._indexes.setdefault(keys[0], {}) if listed else {}
        if set(index) - set(key_of):
            for one in [one for one, deadline in index.items() if deadline <= now]:
                del index[one]
        if set(index) - set(key_of):
            return [b"again"]
        old = self._living(key_of[replaced], idle, absolute) if replaced else None
        kept = list(old.data) if old and keeps_all else kept
        data = {key: old.data[key] for key in kept if old and key in old.data} | _pairs(initial)
        own = (int(own_idle) if own_idle else None, int(own_absolute) if own_absolute else None)
        deadline = now + (own[1] or int(absolute))
        user = name if listed else None
        record = _Record(user, now, deadline, now, own, (agent, address), data)
        if refused := _over(record.weight(data), (int(most_bytes), int(most_fields)), (0, 0)):
            return refused
        record.expires = min(now + (own[0] or int(idle)), deadline)
        self._sessions[keys[1]] = record
        if not listed:
            return [b"ok", b""]
        if old is not None:
            self._finish(index, replaced, key_of)
        for one in list(index):
            if self._living(key_of[one], idle, absolute) is None:
                self._finish(index, one, key_of)
        living = sorted(index, key=lambda one: (self._sessions[key_of[one]].created, one))
        evicted = living[: max(0, len(living) - int(most) + 1)]
        for one in evicted:
            self._finish(index, one, key_of)
        index[digest] = deadline
        ended = replaced.encode() if old is not None else b""
        return [b"ok", ended, *(one.encode() for one in evicted)]

    def _finish(self, index: dict[str, int], digest: str, key_of: dict[str, str]) -> None:
        self._sessions.pop(key_of[digest], None)
        index.pop(digest, None)


def _tell(answer: asyncio.Future[Any], value: Any) -> None:
    if not answer.done():  # nobody waits where the request was cancelled
        answer.set_result(value)


def _now() -> int:
    return int(time.time() * 1000)


def _over(weight: tuple[int, int], caps: tuple[int, int], before: tuple[int, int]) -> list[Any]:
    """The refusal of what weighs too much; what shrinks passes."""
    for what, now, most, then in zip((b"bytes", b"fields"), weight, caps, before, strict=True):
        if now > most and now > then:
            return [what, now]
    return []


def _pairs(words: Sequence[Any]) -> Texts:
    return dict(zip(words[::2], words[1::2], strict=True))


def _counted(words: Sequence[Any], width: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """A list that begins with its length, and what comes after it."""
    end = 1 + int(words[0]) * width
    return words[1:end], words[end:]
