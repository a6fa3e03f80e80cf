"""What the session engine promises, as plain Python objects in memory: no Redis, no time, no races."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

CAP = 3  # sessions a user


class Conflict(Exception):
    """A compare-and-set found another version."""


class NotCountable(Exception):
    """The field holds no whole number."""


@dataclass(eq=False)
class Stored:
    """One session as Redis ought to hold it."""

    user: str
    number: int  # rises with each login
    data: dict[str, Any]
    ids: list[str]  # the current one last; one before it may be in its grace
    alive: bool = True
    version: int = 1
    counted: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass(eq=False)
class Loaded:
    """What one request holds: the data when it was loaded, and as it is now."""

    stored: Stored
    session_id: str
    before: dict[str, Any]
    now: dict[str, Any]
    version: int

    @property
    def changed(self) -> set[str]:
        keys = self.before.keys() | self.now.keys()
        return {key for key in keys if _text(self.before, key) != _text(self.now, key)}


class Model:
    """All sessions there ever were."""

    def __init__(self) -> None:
        self.sessions: list[Stored] = []

    def living(self, user: str = "") -> list[Stored]:
        """The oldest login first."""
        return [one for one in self.sessions if one.alive and one.user == (user or one.user)]

    def create(
        self, user: str, data: dict[str, Any], session_id: str, old: Loaded | None
    ) -> Stored:
        carried = {}
        if old is not None and self._reach(old):
            if old.stored.user == user and "kept" in old.stored.data:
                carried = {"kept": old.stored.data["kept"]}
            old.stored.alive = False
        fresh = Stored(user, len(self.sessions), copy.deepcopy(data | carried), [session_id])
        self.sessions.append(fresh)
        for oldest in self.living(user)[:-CAP]:
            oldest.alive = False
        return fresh

    def load(self, session_id: str) -> Loaded | None:
        for one in self.living():
            if session_id in one.ids:
                return Loaded(
                    one, one.ids[-1], copy.deepcopy(one.data), copy.deepcopy(one.data), one.version
                )
        return None

    def save(self, loaded: Loaded, expected: int | None = None) -> bool:
        """Whether the session was there; True without looking when there is nothing to write."""
        changed = loaded.changed
        if not changed:
            return True
        if not self._reach(loaded):
            return False
        if expected is not None and expected != loaded.stored.version:
            raise Conflict
        for key in changed:
            if key in loaded.now:
                loaded.stored.data[key] = copy.deepcopy(loaded.now[key])
            else:
                loaded.stored.data.pop(key, None)
        self._wrote(loaded)
        loaded.before = copy.deepcopy(loaded.now)
        return True

    def update(self, loaded: Loaded, key: str) -> bool:
        """Add one to `key`, with what is newest."""
        self._add_one(loaded, key)
        try:
            return self.save(loaded, loaded.version)
        except Conflict:
            stored = loaded.stored
            loaded.before, loaded.now = copy.deepcopy(stored.data), copy.deepcopy(stored.data)
            loaded.version = stored.version
            self._add_one(loaded, key)
            return self.save(loaded, loaded.version)

    def increment(self, loaded: Loaded, key: str, operation: str) -> int | None:
        if not self._reach(loaded):
            return None
        stored = loaded.stored
        if (key, operation) not in stored.counted:
            value = stored.data.get(key, 0)
            if type(value) is not int:
                raise NotCountable
            stored.data[key] = value + 1
            stored.counted[key, operation] = value + 1
            stored.version += 1
        result = stored.counted[key, operation]
        loaded.before[key] = loaded.now[key] = result
        loaded.version = stored.version
        return result

    def pop(self, loaded: Loaded, key: str) -> Any:
        if not self._reach(loaded) or key not in loaded.stored.data:
            return None
        value = loaded.stored.data.pop(key)
        self._wrote(loaded)
        loaded.before.pop(key, None)
        loaded.now.pop(key, None)
        return value

    def renew(self, loaded: Loaded, session_id: str | None) -> None:
        """`session_id` is the new one; None when the engine made none, and only told where it went."""
        if session_id is None:
            self._reach(loaded)
        else:
            loaded.stored.ids.append(session_id)
            loaded.session_id = session_id

    def may_renew(self, loaded: Loaded) -> bool:
        """A session moves once for those who hold its current id; others only learn where it went."""
        return loaded.stored.alive and loaded.session_id == loaded.stored.ids[-1]

    def destroy(self, loaded: Loaded) -> bool:
        was_there = self._reach(loaded)
        if was_there:
            loaded.stored.alive = False
        return was_there

    def end_all(self, user: str, keep: Loaded | None = None) -> int:
        ended = [one for one in self.living(user) if keep is None or one is not keep.stored]
        for one in ended:
            one.alive = False
        return len(ended)

    def _reach(self, loaded: Loaded) -> bool:
        """Whether the session is there for this request; it follows a renewal on the way."""
        there = loaded.stored.alive and loaded.session_id in loaded.stored.ids
        if there:
            loaded.session_id = loaded.stored.ids[-1]
        return there

    def _wrote(self, loaded: Loaded) -> None:
        loaded.stored.version += 1
        loaded.version = loaded.stored.version

    def _add_one(self, loaded: Loaded, key: str) -> None:
        value = loaded.now.get(key)
        loaded.now[key] = value + 1 if type(value) is int else 1


def _text(data: dict[str, Any], key: str) -> str:
    """Equal values of different types are different: 1, True and 1.0."""
    return repr(data[key]) if key in data else "absent"
