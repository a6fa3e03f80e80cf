"""Sessions in Redis, correct under parallel requests on different workers.

What a method changes in Redis it changes in one atomic script on one hash slot.  Absence is a value: no
such session is None or False.  Failure is an exception: StoreUnavailable.  Nothing here locks Redis, and
nothing that writes is sent twice.  Only `create` may insert; whatever has ended stays ended.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from glob import escape
from typing import Any, NamedTuple, Protocol

from . import identity
from .codec import MAX_EXACT_INTEGER, decode, encode
from .counters import Counters
from .limits import Limits, lifetime_ms, ms
from .lua import SCRIPTS
from .session import Changes, Session, apply, check_key, check_name, without
from .wire.calls import Command, Request, Script, StoreUnavailable, WrongType

MAX_TRIES = 3
MAX_INDEX_RACES = 20  # logins of one user at the same moment that one login steps aside for
OPERATIONS_REMEMBERED = 256
LABEL_CHARACTERS = 256
NEARLY_OVER_MS = 1000  # before a session's end: a touch that nobody waits for could come too late
NEVER_MS = 1 << 52  # as a throttle: longer than any session lives
ANY_ID = "*"  # as the proof of an id, for a request that has shown its own
KEEP_ALL = "*"  # instead of the number of keys to keep
PLACES_REMEMBERED = 4096  # of visitors who may come again, about 1 KiB each

log = logging.getLogger(__name__)


class SessionConflict(Exception):
    """Other writers were ahead each time; nothing of this change was written."""


class SessionTooLarge(Exception):
    """The change would take the session over its caps; the old data is intact."""


class NotAnInteger(Exception):
    """The field holds something that cannot be counted up, or the sum would leave 2^53."""


@dataclass(frozen=True)
class Device:
    """One live session as its user may see it: `ref` names it without being of use in a cookie."""

    ref: str
    created: float
    last_seen: float
    agent: str
    address: str


class Event(NamedTuple):
    """What this process did to a session: `reason` is empty for one it created."""

    what: str  # created | ended
    user: str  # empty before a login
    ref: str
    reason: str


class _Place(NamedTuple):
    """Where a session is, and what asks Redis for it."""

    session_id: str  # empty for a request that has shown its own
    tag: str
    digest: str
    args: tuple[str | int, ...]
    request: Request


class Calls(Protocol):
    """What runs scripts: a Pipeline, or memory in tests of handlers."""

    def run(self, script: Script, keys: Sequence[str], args: Command) -> asyncio.Future[Any]: ...
    def send(self, request: Request) -> asyncio.Future[Any]: ...
    async def tags(self) -> list[str]: ...


class RedisSessions:
    """The store every worker shares.  Make one a process, inside the running event loop.

    Each method may raise StoreUnavailable; the caller answers 503 and leaves the cookie alone.
    """

    def __init__(
        self,
        pipeline: Calls,
        limits: Limits | None = None,
        *,
        prefix: str = "",
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        """`prefix` begins every key, so that applications can share one Redis; it holds no braces.

        `on_event` is told of each session that this process creates or ends; it must not raise.  Nobody
        is told when Redis lets one expire.
        """
        if "{" in prefix or "}" in prefix:
            raise ValueError(
                f"prefix={prefix!r} must not hold braces: they choose a node of a cluster"
            )
        self.limits = limits = limits or Limits()
        self.counters = Counters()
        self._pipeline = pipeline
        self._prefix = prefix
        self._on_event = on_event
        self._lifetimes = ms(limits.idle_seconds), ms(limits.absolute_seconds)
        self._renewal = ms(limits.renew_seconds), ms(limits.renew_grace_seconds)
        self._throttle_ms = ms(limits.touch_throttle_seconds)
        self._caps = limits.max_bytes, limits.max_fields
        self._remembered_place_of = lru_cache(maxsize=PLACES_REMEMBERED)(self._place_of)

    def load(
        self, session_id: str | None, *, touch: bool = True
    ) -> Coroutine[Any, Any, Session | None]:
        """The live session behind an id, or None for no, an unknown, ended, expired or malformed one.

        One round trip, which changes nothing.  Once per touch throttle a second call follows that nobody
        waits for, but in the last second of the session: it moves the idle deadline, unless Redis refuses
        writes.  Never without `touch`: for what a page asks by itself, which must not keep a forgotten tab
        logged in.  An id that leads nowhere is never adopted (ASVS 5.0 7.2.4).
        """
        try:
            place = self._remembered_place_of(session_id or "", touch)
        except ValueError:
            return _nobody()
        self.counters.loads += 1
        return self._load(place)

    async def create(
        self,
        user: str | None,
        data: Mapping[str, Any] | None = None,
        *,
        replacing: Session | None = None,
        keep: Collection[str] | None = (),
        agent: str = "",
        address: str = "",
        idle_seconds: float | None = None,
        absolute_seconds: float | None = None,
    ) -> str:
        """Begin a session at login and return its id, to be put into a cookie and nowhere else.

        The session `replacing` is dead when this returns (ASVS 5.0 7.2.4: a new token at login).  Of
        its data only the keys in `keep` move over, where `data` has none, and only if it was the same
        user's or nobody's; `keep` None moves all the data of the same user's, and is for somebody who
        has given the password again.  The oldest sessions beyond the cap per user end.  `user` None
        begins a session before login: no list and no cap knows it, so do this only where a visitor writes.

        `idle_seconds` and `absolute_seconds` are lifetimes of this session alone, whatever Limits say.
        Two round trips; one for nobody's session, one or two more to replace another user's or nobody's.
        Raises SessionTooLarge over the caps, NotPlainJson and BadKey, with nothing changed.
        """
        check_name(user or "")
        for key in (*(keep or ()), *(data or ())):
            check_key(key)
        texts = {key: encode(value) for key, value in (data or {}).items()}
        own = (
            "" if idle_seconds is None else lifetime_ms("idle_seconds", idle_seconds),
            "" if absolute_seconds is None else lifetime_ms("absolute_seconds", absolute_seconds),
        )
        here, there = replacing, None
        if replacing is not None and (replacing.anonymous or replacing.user != user):
            here, there, keep = None, replacing, keep or ()  # in a slot of its own
        carried = there.texts_of(keep or ()) if there is not None and there.anonymous else {}
        initial = carried | texts
        self._check_size(initial)
        session_id = identity.new_id(user)
        kept: list[str | int] = [KEEP_ALL] if keep is None else [len(keep), *keep]
        args = (
            identity.digest_of(session_id), *(("anonymous", "1") if user is None else ("user", user)),
            *self._lifetimes, *own, self.limits.max_per_user, *self._caps,
            "" if here is None else here.digest, _label(agent), _label(address),
            *kept, len(initial), *_flat(initial),
        )  # fmt: skip
        await self._create(session_id, user, here, args)
        if there is not None:
            await self._end_elsewhere(there, session_id, set(keep or ()) - set(texts), carried)
        return session_id

    async def save(self, session: Session) -> bool:
        """Write what changed, and nothing else; no round trip when nothing did.

        False when the session has ended: the change is dropped, and the answer to the visitor stands.
        Parallel writers of other keys keep their changes; what is changed while this is under way is
        for the next save.  Raises SessionTooLarge over the caps and NotPlainJson for a value spoilt in
        place, both with the old data intact.
        """
        changes = session.changes()
        if session.ended or not changes:
            return not session.ended
        return await self._save(session, changes, expected="")

    async def update(self, session: Session, change: Callable[[Session], object]) -> bool:
        """Read-modify-write: apply `change` to the newest data, or not at all.

        Writes only if nobody else wrote since the data was read; otherwise loads again and calls
        `change` again, three times at most, then raises SessionConflict with nothing of `change` left.
        False when the session has ended.  Changes made before or meanwhile are written with it, or are
        still to be saved.
        """
        async with session.turn:
            for tries in range(1, MAX_TRIES + 1):
                before = session.changes()
                change(session)
                sent = session.changes()
                try:
                    return await self._save(session, sent, expected=str(session.basis))
                except SessionConflict:
                    self.counters.conflicts += 1
                fresh = await self._reload(session) if tries < MAX_TRIES else None
                others = without(session.changes(), sent, before)
                if session.ended:
                    return False
                session.was_replaced_by(fresh) if fresh else session.forget_changes()
                apply(others, session)
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
        seen = session.text_of(key)
        args = (key, by, mark, OPERATIONS_REMEMBERED, *self._caps)
        answer = await self._write(session, "increment", args, with_log=True)
        if answer is None:
            return None
        session.was_stored(key, answer[1], answer[2], seen, wrote=len(answer) == 3)
        value: int = answer[1]
        return value

    async def pop(self, session: Session, key: str, default: Any = None) -> Any:
        """Take a value out (a flash message): of parallel requests exactly one gets it.

        The others, and whoever asks for nothing, get `default`; a stored null is None.  Where the
        session has ended it is `default` too, and `session.ended` says so.
        """
        check_key(key)
        seen = session.text_of(key)
        answer = await self._write(session, "pop", (key,))
        if answer is None or answer[1] is None:
            return default
        session.was_stored(key, None, answer[2], seen)
        return decode(answer[1])

    async def touch(self, session: Session) -> bool:
        """Move the idle deadline now, whatever the throttle; False when the session has ended."""
        args = (ANY_ID, *self._lifetimes, 0)
        alive = await self._run("touch", self._pairs(session.tag, [session.digest]), args)
        if not alive:
            self._note_gone(session)
        return bool(alive)

    async def renew(self, session: Session) -> str | None:
        """The new id of a session that is due (`renewal_due`), for its cookie; None when there is none.

        Call it last, right before the answer: it says None once the session has ended or the visitor may
        hold a newer id.  Every request with the old id gets the same new one.  The old id stays good
        until the new one is used, and for the grace after that (ASVS 5.0 7.4.1); requests in flight do
        not notice.  Where Redis cannot write it is put off to a later request.
        """
        session_id, session.renewable_id = session.renewable_id, ""
        if not session_id or session.ended:
            return None
        salt = secrets.token_hex(16)
        proofs = [
            identity.proof_of(one) for one in (session_id, identity.successor_of(session_id, salt))
        ]
        args = (proofs[0], salt, proofs[1], *self._lifetimes, *self._renewal)
        try:
            answer = await self._run("renew", [self._key(session.tag, session.digest)], args)
        except StoreUnavailable:
            return None
        if answer is None:
            return None
        self.counters.renewals += answer == salt.encode()
        return identity.successor_of(session_id, answer.decode())

    async def destroy(self, session: Session, *, reason: str = "logout") -> bool:
        """End this session for good; False when it had ended already.  One round trip.

        `reason` is one word for those who watch the session; here and below.
        """
        ended = await self._end(session.tag, session.user, [session.digest], reason)
        session.ended = True
        return bool(ended)

    async def devices(self, user: str) -> list[Device]:
        """The user's live sessions, the newest login first.  Two round trips, a third to tidy up."""
        known, tag = await self._members(user), identity.tag_of(user)
        keys = [self._key(tag, digest) for digest in known]
        rows = await self._run("devices", keys, (*self._lifetimes, *known)) if known else []
        expired = [row[0].decode() for row in rows if len(row) == 1]
        if expired:
            with suppress(StoreUnavailable):
                await self._end(tag, user, expired, "expired")
        devices = [_device(*row) for row in rows if len(row) > 1]
        return sorted(devices, key=lambda device: device.created, reverse=True)

    async def end(self, user: str, ref: str, *, reason: str = "device") -> bool:
        """End the session of `user` that `ref` names; False when there is none."""
        digests = [digest for digest in await self._members(user) if identity.ref_of(digest) == ref]
        return bool(digests and await self._end(identity.tag_of(user), user, digests, reason))

    async def end_others(self, session: Session) -> int:
        """End every session of this user but this one; how many there were."""
        if session.anonymous:
            return 0
        return await self.end_all(session.user, keep=session.digest)

    async def end_all(self, user: str, *, reason: str = "device", keep: str = "") -> int:
        """End every session of this user, on every device; how many there were (ASVS 5.0 7.4.2).

        Not the one whose digest is `keep`.
        """
        ended, tag = 0, identity.tag_of(user)
        # More than once: a login may slip in between reading and ending.
        for _ in range(MAX_INDEX_RACES):
            digests = [digest for digest in await self._members(user) if digest != keep]
            if not digests:
                break
            ended += len(await self._end(tag, user, digests, reason))
        return ended

    async def everybody(
        self, cursor: str = "", most: int = 100
    ) -> tuple[list[tuple[str, Device]], str]:
        """Live sessions of all users, each with its user's name, and the cursor to go on with; empty at the end.

        For administrators: a call looks at about `most` keys, so it holds up nobody.  A session that lives
        throughout is listed at least once, on a cluster unless its slot moves meanwhile.  One round trip.
        Redis's SCAN has to be allowed, which workers do not need.  Raises ValueError for another cursor.
        """
        node, _, at = (cursor or "0:0").partition(":")
        tags = (await self._pipeline.tags())[int(node) :]
        if not tags:  # the cluster has fewer nodes by now
            return [], ""
        pattern = escape(self._prefix) + "session:{*"
        args = (int(at), pattern, most, *self._lifetimes)
        at, rows = await self._run("everybody", [self._key(tags[0], "")], args)
        found = [(user.decode(), _device(*device)) for user, *device in rows]
        if int(at):
            return found, f"{node}:{int(at)}"
        return found, f"{int(node) + 1}:0" if len(tags) > 1 else ""

    async def count(self) -> int:
        """How many sessions live, of all users, those before a login too; looked through as by `everybody`."""
        total, cursor = 0, "0:0"
        while cursor:
            found, cursor = await self.everybody(cursor, most=1000)
            total += len(found)
        return total

    async def check(self) -> None:
        """One round trip that proves Redis answers."""
        await self._members("")

    async def _create(
        self, session_id: str, user: str | None, replaced: Session | None, args: Command
    ) -> None:
        """Insert it, with `args` as create.lua has them but for the digests of the user's other sessions."""
        tag, digest = identity.tag_in(session_id), identity.digest_of(session_id)
        for _ in range(MAX_INDEX_RACES):
            known = [] if user is None else await self._members(user)
            if replaced is not None and replaced.digest not in known:
                known.append(replaced.digest)
            keys = [self._index(tag, user or ""), self._key(tag, digest), *self._pairs(tag, known)]
            answer = self._outcome(await self._run("create", keys, (*args, *known)))
            if answer[0] == b"ok":
                break
        else:
            raise StoreUnavailable("this user logs in too often at once", may_have_happened=False)
        if replaced is not None:
            replaced.ended = True
        self.counters.evicted += len(answer) - 2
        self._tell("created", user, [digest])
        self._tell("ended", user, [answer[1].decode()] if answer[1] else [], "login")
        self._tell("ended", user, [one.decode() for one in answer[2:]], "limit")

    async def _end_elsewhere(
        self, old: Session, session_id: str, keep: Collection[str], carried: Mapping[str, bytes]
    ) -> None:
        """End a session of another slot; of nobody's, what was written at the last moment moves over."""
        keep = sorted(keep) if old.anonymous else []
        rows = await self._end(old.tag, old.user, [old.digest], "login", keep)
        old.ended = True
        for _, *values in rows:
            late = zip(keep, values, strict=True)
            if changes := {key: text for key, text in late if text != carried.get(key)}:
                place = identity.tag_in(session_id), identity.digest_of(session_id)
                await self._run("save", [self._key(*place)], self._saving(changes, ""))

    async def _end(
        self, tag: str, user: str, digests: Sequence[str], reason: str, keep: Collection[str] = ()
    ) -> list[list[Any]]:
        """End these sessions; for each that was there its digest and what it held at the keys to `keep`."""
        keys = [self._index(tag, user), *self._pairs(tag, digests)]
        rows: list[list[Any]] = await self._run(
            "destroy", keys, (reason, len(keep), *keep, *digests)
        )
        self._tell("ended", user, [digest.decode() for digest, *_ in rows], reason)
        return rows

    async def _members(self, user: str) -> list[str]:
        """The digests in the user's index; some may have ended without a trace."""
        members = await self._run("members", [identity.user_key(user, self._prefix)], ())
        return [member.decode() for member in members]

    async def _load(self, place: _Place) -> Session | None:
        try:
            # Not through _run: each coroutine on the way of every request is paid for down and up.
            answer = await self._pipeline.send(place.request)
            if answer is None:
                return None
            if answer != b"over":
                session = Session(answer, place.digest, place.tag, place.session_id)
                if session.touch_ms:
                    touched = self._touch(place)
                    touched.add_done_callback(self._was_touched)
                    if session.touch_ms < NEARLY_OVER_MS and not await self._survives(touched):
                        return None
                return session
        except (WrongType, ValueError) as error:
            await self._remove(place.tag, place.digest, error)
            return None
        except StoreUnavailable as error:
            self.counters.note_error(error)
            raise
        with suppress(StoreUnavailable):
            await self._touch(place)
        return None

    @staticmethod
    async def _survives(touched: asyncio.Future[Any]) -> bool:
        """Whether the touch found the session alive; True where Redis could not do it, as for any other touch."""
        with suppress(StoreUnavailable):
            return bool(await touched)
        return True

    def _touch(self, place: _Place) -> asyncio.Future[Any]:
        keys = self._pairs(place.tag, [place.digest])
        return self._pipeline.run(SCRIPTS["touch"], keys, place.args[:4])

    def _was_touched(self, answer: asyncio.Future[Any]) -> None:
        """The session was read all the same; a later read touches it again."""
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, StoreUnavailable):
            self.counters.note_error(error)

    def _place_of(self, session_id: str, touch: bool) -> _Place:
        """Remembered, as hashing and packing cost more than the rest of a load.  Raises ValueError."""
        if not identity.is_id(session_id):
            raise ValueError("this was never given out as an id")
        tag, digest = identity.tag_in(session_id), identity.digest_of(session_id)
        return self._place(tag, digest, touch, session_id, identity.proof_of(session_id))

    def _place(
        self, tag: str, digest: str, touch: bool, session_id: str = "", proof: str = ANY_ID
    ) -> _Place:
        throttle_ms = self._throttle_ms if touch else NEVER_MS
        args = (proof, *self._lifetimes, throttle_ms, *self._renewal)
        request = Request(SCRIPTS["load"], (self._key(tag, digest),), args)
        return _Place(session_id, tag, digest, args, request)

    async def _remove(self, tag: str, digest: str, error: Exception) -> None:
        """Delete what is not a session: neither an endless 500 nor an endless loop."""
        log.error(
            "session %s was not readable (%s) and was ended", digest[:8], type(error).__name__
        )
        self.counters.corrupt += 1
        # Whose it was may be unreadable too; the user's index drops it at the next look.
        await self._end(tag, "", [digest], "unreadable")

    async def _reload(self, session: Session) -> Session | None:
        """The newest data, whatever became of the id it was first loaded by; None when it has ended."""
        fresh = await self._load(self._place(session.tag, session.digest, touch=True))
        if fresh is None:
            self._note_gone(session)
        return fresh

    async def _save(self, session: Session, changes: Changes, expected: str) -> bool:
        """Write, if there are changes, and if the version is the expected one; False when it has ended."""
        self._check_size(changes)
        answer = await self._write(session, "save", self._saving(changes, expected))
        if answer is None:
            return False
        session.was_saved(changes, answer[1])
        return True

    def _saving(self, changes: Changes, expected: str) -> Command:
        sets = {key: text for key, text in changes.items() if text is not None}
        deletes = [key for key in changes if key not in sets]
        return (expected, *self._caps, len(sets), *_flat(sets), *deletes)

    def _check_size(self, changes: Changes) -> None:
        """Refuse what cannot fit before it travels; the script decides about the whole session."""
        size = sum(len(text) for text in changes.values() if text is not None)
        if size > self.limits.max_bytes:
            raise SessionTooLarge(f"{size} bytes, where a session holds {self.limits.max_bytes}")

    async def _write(
        self, session: Session, script: str, args: Command, *, with_log: bool = False
    ) -> list[Any] | None:
        """Run a writing script; its answer, or None when the session has ended."""
        if not session.ended:
            keys = self._pairs(session.tag, [session.digest])
            answer = self._outcome(await self._run(script, keys if with_log else keys[:1], args))
            if answer[0] == b"ok":
                self.counters.saves += 1
                return answer
        self._note_gone(session)
        return None

    def _note_gone(self, session: Session) -> None:
        self.counters.gone += 1
        session.ended = True

    def _outcome(self, answer: list[Any]) -> list[Any]:
        """The script's answer; raises what it refused."""
        match answer[0]:
            case b"conflict":
                raise SessionConflict("another request changed this session")
            case b"bytes" | b"fields" as what:
                most = self.limits.max_bytes if what == b"bytes" else self.limits.max_fields
                raise SessionTooLarge(f"{answer[1]} {what.decode()}, where a session holds {most}")
            case b"integer":
                raise NotAnInteger("this field is not an integer, or the sum would leave 2^53")
        return answer

    async def _run(self, script: str, keys: Sequence[str], args: Command) -> Any:
        try:
            return await self._pipeline.run(SCRIPTS[script], keys, args)
        except StoreUnavailable as error:
            self.counters.note_error(error)
            raise

    def _tell(self, what: str, user: str | None, digests: Iterable[str], reason: str = "") -> None:
        if self._on_event is not None:
            for digest in digests:
                self._on_event(Event(what, user or "", identity.ref_of(digest), reason))

    def _key(self, tag: str, digest: str) -> str:
        return identity.session_key(tag, digest, self._prefix)

    def _index(self, tag: str, user: str) -> str:
        return identity.index_key(tag, user, self._prefix)

    def _pairs(self, tag: str, digests: Iterable[str]) -> list[str]:
        """The two keys of each session: its hash and its operation log."""
        of = (identity.session_key, identity.log_key)
        return [key(tag, digest, self._prefix) for digest in digests for key in of]


async def _nobody() -> None:
    return None


def _label(text: str) -> bytes:
    """As a list of devices shows it; a header may hold bytes that are no text."""
    return text[:LABEL_CHARACTERS].encode(errors="replace")


def _flat(texts: Mapping[str, bytes]) -> list[str | bytes]:
    return [part for item in texts.items() for part in item]


def _device(digest: bytes, created: int, touched: int, agent: bytes, address: bytes) -> Device:
    return Device(
        ref=identity.ref_of(digest.decode()),
        created=created / 1000,
        last_seen=touched / 1000,
        agent=agent.decode(errors="replace"),
        address=address.decode(errors="replace"),
    )
