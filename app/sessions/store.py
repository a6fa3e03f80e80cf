"""Sessions in Redis, correct under parallel requests on different workers.

Every method is one atomic script on one hash slot.  Absence is a value: no such session is None or
False.  Failure is an exception: StoreUnavailable.  Nothing here locks, and nothing that writes is
sent twice.  Only `create` may insert; whatever has ended stays ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from . import identity
from .codec import MAX_EXACT_INTEGER, CorruptJson, decode, encode
from .counters import Counters
from .session import Changes, Session, check_key
from .wire.calls import Command, Request, Script, ScriptError, StoreUnavailable, WrongType
from .wire.pipeline import Pipeline

MAX_TRIES = 3
MAX_INDEX_RACES = 20  # logins of one user at the same moment that one login steps aside for
OPERATIONS_REMEMBERED = 256
LABEL_CHARACTERS = 256
NEVER_MS = 1 << 52  # as a throttle: longer than any session lives
PLACES_REMEMBERED = 4096  # of visitors who may come again, about 1 KiB each

log = logging.getLogger(__name__)

_SCRIPTS = {
    path.stem: Script.read(path) for path in (Path(__file__).parent / "scripts").glob("*.lua")
}


class SessionConflict(Exception):
    """Other writers were ahead each time; nothing of this change was written."""


class SessionTooLarge(Exception):
    """The change would take the session over its caps; the old data is intact."""


class NotAnInteger(Exception):
    """The field holds something that cannot be counted up, or the sum would leave 2^53."""


@dataclass(frozen=True)
class Limits:
    """Lifetimes in seconds and caps.  .env.example gives the reasons for the defaults."""

    idle_seconds: float = 1800
    absolute_seconds: float = 43200
    touch_seconds: float = 60
    renew_seconds: float = 0
    renew_grace_seconds: float = 10
    max_per_user: int = 5
    max_bytes: int = 16384
    max_fields: int = 64

    @property
    def touch_throttle_seconds(self) -> float:
        """A session is touched at most this often, so it may end this much before its idle limit."""
        return min(self.touch_seconds, self.idle_seconds / 10)


@dataclass(frozen=True)
class Device:
    """One live session as its user may see it: `ref` names it without being of use in a cookie."""

    ref: str
    created: float
    last_seen: float
    agent: str
    address: str


class _Place(NamedTuple):
    """Where a session is, and what asks Redis for it."""

    tag: str
    digest: str
    touch: bool
    request: Request


class RedisSessions:
    """The store every worker shares.  Make one a process, inside the running event loop.

    Each method may raise StoreUnavailable; the caller answers 503 and leaves the cookie alone.
    """

    def __init__(self, pipeline: Pipeline, limits: Limits = Limits()) -> None:
        self.limits = limits
        self.counters = Counters()
        self._pipeline = pipeline
        self._idle_ms = _ms(limits.idle_seconds)
        self._renew_ms = _ms(limits.renew_seconds)
        self._throttle_ms = _ms(limits.touch_throttle_seconds)
        self._remembered_place_of = lru_cache(maxsize=PLACES_REMEMBERED)(self._place_of)

    def load(self, session_id: str, *, touch: bool = True) -> Coroutine[Any, Any, Session | None]:
        """The live session behind an id, or None for an unknown, ended, expired or malformed one.

        One round trip; a second one while a renewed id is in its grace.  Moves the idle deadline at
        most once per touch throttle, and never without `touch`: for what a page asks by itself, which
        must not keep a forgotten tab logged in.  An id that leads nowhere is never adopted (ASVS 5.0
        7.2.4).
        """
        try:
            place = self._remembered_place_of(session_id, touch)
        except identity.NotAnId:
            return _nobody()
        self.counters.loads += 1
        return self._load(place)

    async def create(
        self,
        user: str,
        data: Mapping[str, Any] | None = None,
        *,
        replacing: Session | None = None,
        keep: Collection[str] = (),
        agent: str = "",
        address: str = "",
    ) -> str:
        """Begin a session at login and return its id, to be put into a cookie and nowhere else.

        The session `replacing` is dead when this returns (ASVS 5.0 7.2.4: a new token at login).  Of
        its data only the keys in `keep` move over, and only if it was the same user's.  The oldest
        sessions beyond the cap per user end.  Two round trips, one more for another user's session.
        """
        if replacing is not None and replacing.user != user:
            await self.destroy(replacing, reason="login")
            replacing = None
        session_id = identity.new_id(user)
        digest = identity.digest_of(session_id)
        fields = _fields_of(data or {})
        self._check_caps(fields)
        initial = [*_labels(agent, address), *fields]
        for _ in range(MAX_INDEX_RACES):
            known = await self._members(user)
            if replacing is not None and replacing.digest not in known:
                known.append(replacing.digest)
            args: list[str | bytes | int] = [
                digest, user, self._idle_ms, _ms(self.limits.absolute_seconds),
                self.limits.max_per_user, replacing.digest if replacing is not None else "",
                len(keep), *map(_field, keep), len(initial) // 2, *initial, *known,
            ]  # fmt: skip
            tag = identity.tag_of(user)
            keys = [identity.user_key(user), identity.session_key(tag, digest), *_pairs(tag, known)]
            answer = await self._run("create", keys, args)
            if answer[0] == b"ok":
                self.counters.evicted += answer[2]
                return session_id
        raise StoreUnavailable("this user logs in too often at once", may_have_happened=False)

    async def save(self, session: Session) -> bool:
        """Write what changed, and nothing else; no round trip when nothing did.

        False when the session has ended meanwhile: the change is dropped, and the answer to the
        visitor stands.  Parallel writers of other keys keep their changes.  Raises SessionTooLarge
        over the caps and NotPlainJson for a value spoilt in place, both with the old data intact.
        """
        return await self._save(session, expected="") is not None

    async def update(self, session: Session, change: Callable[[Session], object]) -> bool:
        """Read-modify-write: apply `change` to the newest data, or not at all.

        Writes only if nobody else wrote since the data was read; otherwise loads again and calls
        `change` again, three times at most, then raises SessionConflict.  False when the session has
        ended.  Unsaved changes made before are written with it, or lost to the reload: save first.
        """
        for tries in range(1, MAX_TRIES + 1):
            change(session)
            try:
                return await self._save(session, expected=str(session.version)) is not None
            except SessionConflict:
                self.counters.conflicts += 1
            if tries < MAX_TRIES and not await self._reload(session):
                return False
        session.forget_changes()  # so that a later save does not write what was refused here
        raise SessionConflict(f"other requests changed this session {MAX_TRIES} times meanwhile")

    async def increment(
        self, session: Session, key: str, by: int = 1, *, operation: str = ""
    ) -> int | None:
        """Add to a number atomically and return the sum; None when the session has ended.

        With an `operation` id the sum is raised once however often the client repeats it: a repeat
        gets the first answer.  The last 256 operations of a session are remembered.  Raises
        NotAnInteger and SessionTooLarge.
        """
        check_key(key)
        if type(by) is not int or abs(by) > MAX_EXACT_INTEGER:
            raise NotAnInteger("only a whole number within 2^53 can be added")
        mark = identity.operation_mark(key, operation) if operation else ""
        limits = self.limits
        args = (_field(key), by, mark, OPERATIONS_REMEMBERED, self._idle_ms,
                limits.max_bytes, limits.max_fields)  # fmt: skip
        answer = await self._write(session, "increment", args, with_log=True)
        if answer is None:
            return None
        session.was_stored(key, answer[1], answer[2])
        value: int = answer[1]
        return value

    async def pop(self, session: Session, key: str) -> Any | None:
        """Take a value out (a flash message): of parallel requests exactly one gets it, others None."""
        answer = await self._write(session, "pop", (_field(key),))
        if answer is None or answer[1] is None:
            return None
        session.was_stored(key, None, answer[2])
        return decode(answer[1])

    async def renew(self, session: Session) -> str | None:
        """Replace the id of a session that is due (`renewal_due`); the new id, or None if not by us.

        Of parallel requests one gets the new id for its cookie.  The old id goes on working for the
        grace, for reads and writes, then is dead (ASVS 5.0 7.4.1).  The data moves unchanged.
        """
        tag = identity.tag_of(session.user)
        session_id = identity.new_id(session.user)
        digest = identity.digest_of(session_id)
        keys = [*_pairs(tag, [session.digest, digest]), identity.user_key(session.user)]
        args = (session.digest, digest, self._renew_ms,
                _ms(self.limits.renew_grace_seconds))  # fmt: skip
        try:
            answer = await self._run("renew", keys, args)
        except WrongType:
            return None
        session.renewal_due = False
        if answer[0] == b"forward":
            session.digest = answer[1].decode()
        if answer[0] != b"ok":
            return None
        session.digest = digest
        self.counters.renewals += 1
        return session_id

    async def destroy(self, session: Session, *, reason: str = "logout") -> bool:
        """End this session for good; False when it had ended already.  One round trip.

        `reason` is one word for those who watch the session; here and below.
        """
        return await self._end(session.user, [session.digest], reason) > 0

    async def devices(self, user: str) -> list[Device]:
        """The user's live sessions, the newest login first.  Two round trips."""
        known = await self._members(user)
        tag = identity.tag_of(user)
        keys = [identity.user_key(user), *(identity.session_key(tag, digest) for digest in known)]
        rows = await self._run("devices", keys, known) if known else []
        devices = [_device(*row) for row in rows]
        return sorted(devices, key=lambda device: device.created, reverse=True)

    async def end(self, user: str, ref: str, *, reason: str = "device") -> bool:
        """End the session of `user` that `ref` names; False when there is none."""
        digests = [digest for digest in await self._members(user) if identity.ref_of(digest) == ref]
        return bool(digests) and await self._end(user, digests, reason) > 0

    async def end_others(self, session: Session) -> int:
        """End every session of this user but this one; how many there were."""
        return await self._end_all(session.user, "device", keep=session.digest)

    async def end_all(self, user: str, *, reason: str = "device") -> int:
        """End every session of this user, on every device; how many there were (ASVS 5.0 7.4.2)."""
        return await self._end_all(user, reason)

    async def check(self) -> None:
        """One round trip that proves Redis answers."""
        await self._members("")

    async def _end_all(self, user: str, reason: str, keep: str = "") -> int:
        ended = 0
        # More than once: a login or a renewal may slip in between reading and ending.
        for _ in range(MAX_INDEX_RACES):
            digests = [digest for digest in await self._members(user) if digest != keep]
            if not digests:
                break
            ended += await self._end(user, digests, reason)
        return ended

    async def _end(self, user: str, digests: list[str], reason: str) -> int:
        """End these sessions, and those that a renewal has just turned them into."""
        tag, ended = identity.tag_of(user), 0
        for _ in range(MAX_TRIES):  # a pointer leads to a session, never to another pointer
            if not digests:
                break
            keys = [identity.user_key(user), *_pairs(tag, digests)]
            alive, *moved = await self._run("destroy", keys, [reason, *digests])
            ended += alive
            digests = [digest.decode() for digest in moved]
        return ended

    async def _members(self, user: str) -> list[str]:
        """The digests in the user's index, the oldest login first."""
        members = await self._run("members", [identity.user_key(user)], ())
        return [member.decode() for member in members]

    async def _load(self, place: _Place, *, follow: bool = True) -> Session | None:
        try:
            # Not through _run: each coroutine on the way of every request is paid for down and up.
            answer = await self._pipeline.send(place.request)
            if answer is None:
                return None
            if answer[0] != b"forward":
                times_ms, due, version, user = decode(answer[0])
                # An id in its grace is not renewed again.
                return Session(place.digest, user, version, times_ms, answer[1], due and follow)
            renewed = answer[1].decode()
        except (WrongType, CorruptJson, UnicodeDecodeError) as error:
            await self._remove(place.tag, place.digest, error)
            return None
        except (StoreUnavailable, ScriptError) as error:
            self._give_up(error)
        self.counters.forwarded += 1
        if not follow:
            return None
        return await self._load(self._place(place.tag, renewed, place.touch), follow=False)

    def _place_of(self, session_id: str, touch: bool) -> _Place:
        """Raises NotAnId.  Remembered, as hashing and packing cost more than the rest of a load."""
        identity.check_id(session_id)
        tag, digest = session_id[: identity.TAG_CHARACTERS], identity.digest_of(session_id)
        return self._place(tag, digest, touch)

    def _place(self, tag: str, digest: str, touch: bool) -> _Place:
        args = (self._idle_ms, self._throttle_ms if touch else NEVER_MS, self._renew_ms)
        request = Request(_SCRIPTS["load"], (identity.session_key(tag, digest),), args)
        return _Place(tag, digest, touch, request)

    async def _remove(self, tag: str, digest: str, error: Exception) -> None:
        """Delete what is not a session: neither an endless 500 nor an endless loop."""
        log.error(
            "session %s was not readable (%s) and was ended", digest[:8], type(error).__name__
        )
        self.counters.corrupt += 1
        # Whose it was may be unreadable too; the user's index drops it at the next look.
        keys = [f"user:{{{tag}}}:", *_pairs(tag, [digest])]
        await self._run("destroy", keys, ["unreadable", digest])

    async def _reload(self, session: Session) -> bool:
        """Replace what was read and changed by the newest data; False when the session has ended."""
        tag = identity.tag_of(session.user)
        fresh = await self._load(self._place(tag, session.digest, touch=True))
        if fresh is None:
            self._note_gone(session)
            return False
        session.was_replaced_by(fresh)
        return True

    async def _save(self, session: Session, expected: str) -> int | None:
        """The version Redis holds now, or None when the session has ended."""
        changes = session.changes()
        if not changes:
            return session.version
        self._check_size(changes)
        sets = [part for key, text in changes.sets.items() for part in (_field(key), text)]
        args = (expected, self.limits.max_bytes, self.limits.max_fields, len(changes.sets),
                *sets, *map(_field, changes.deletes))  # fmt: skip
        answer = await self._write(session, "save", args)
        if answer is None:
            return None
        version: int = answer[1]
        session.was_saved(changes, version)
        return version

    def _check_caps(self, fields: list[str | bytes]) -> None:
        """Refuse what no session may begin with; names and texts count as the scripts count them."""
        size = sum(len(part.encode() if isinstance(part, str) else part) for part in fields)
        if size > self.limits.max_bytes:
            raise SessionTooLarge(f"{size} bytes, where a session holds {self.limits.max_bytes}")
        if len(fields) // 2 > self.limits.max_fields:
            raise SessionTooLarge(
                f"{len(fields) // 2} fields, where a session holds {self.limits.max_fields}"
            )

    def _check_size(self, changes: Changes) -> None:
        """Refuse what cannot fit before it travels; the script decides about the whole session."""
        size = sum(map(len, changes.sets.values()))
        if size > self.limits.max_bytes:
            raise SessionTooLarge(f"{size} bytes, where a session holds {self.limits.max_bytes}")

    async def _write(
        self, session: Session, script: str, args: Command, *, with_log: bool = False
    ) -> list[Any] | None:
        """Run a writing script where the session is now; its answer, or None when it has ended."""
        tag = identity.tag_of(session.user)
        for _ in range(MAX_TRIES):  # a renewal may have moved it since it was loaded
            keys = [identity.session_key(tag, session.digest)]
            if with_log:
                keys.append(identity.log_key(tag, session.digest))
            try:
                answer: list[Any] = await self._run(script, keys, args)
            except WrongType:
                break
            if answer[0] == b"gone":
                break
            if answer[0] != b"forward":
                return self._outcome(answer)
            self.counters.forwarded += 1
            session.digest = answer[1].decode()
        self._note_gone(session)
        return None

    def _note_gone(self, session: Session) -> None:
        self.counters.gone += 1
        session.ended = True

    def _outcome(self, answer: list[Any]) -> list[Any]:
        match answer[0]:
            case b"ok":
                self.counters.saves += 1
                return answer
            case b"conflict":
                raise SessionConflict("another request changed this session")
            case b"bytes":
                raise SessionTooLarge(
                    f"{answer[1]} bytes, where a session holds {self.limits.max_bytes}"
                )
            case b"fields":
                raise SessionTooLarge(
                    f"{answer[1]} fields, where a session holds {self.limits.max_fields}"
                )
            case _:
                raise NotAnInteger("this field is not an integer, or the sum would leave 2^53")

    async def _run(self, script: str, keys: Sequence[str], args: Command) -> Any:
        try:
            return await self._pipeline.run(_SCRIPTS[script], keys, args)
        except WrongType:
            raise
        except (StoreUnavailable, ScriptError) as error:
            self._give_up(error)

    def _give_up(self, error: StoreUnavailable | ScriptError) -> NoReturn:
        self.counters.errors += 1
        if isinstance(error, ScriptError):
            raise StoreUnavailable(str(error), may_have_happened=True) from error
        raise error


async def _nobody() -> None:
    return None


def _labels(agent: str, address: str) -> list[str | bytes]:
    """How a list of devices shows this session; a header may hold bytes that are no text."""
    texts = (("agent", agent), ("address", address))
    return [
        part
        for name, text in texts
        for part in (name, text[:LABEL_CHARACTERS].encode(errors="replace"))
    ]


def _fields_of(data: Mapping[str, Any]) -> list[str | bytes]:
    """Name and JSON text of each key, one after the other."""
    fields: list[str | bytes] = []
    for key, value in data.items():
        check_key(key)
        fields += [_field(key), encode(value)]
    return fields


def _device(digest: bytes, created: bytes, touched: bytes, agent: bytes, address: bytes) -> Device:
    return Device(
        ref=identity.ref_of(digest.decode()),
        created=int(created) / 1000,
        last_seen=int(touched) / 1000,
        agent=agent.decode(),
        address=address.decode(),
    )


def _pairs(tag: str, digests: Sequence[str]) -> list[str]:
    """The two keys of each session: its hash and its operation log."""
    return [
        key(tag, digest) for digest in digests for key in (identity.session_key, identity.log_key)
    ]


def _field(key: str) -> str:
    """Data and facts about the session share one hash; the prefix keeps them apart."""
    return f"d:{key}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
