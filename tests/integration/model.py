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
    ids: list[str]  # the newest one last; the one before it is good until that is used
    used: bool = True  # the newest one
    alive: bool = True
    version: int = 1
    counted: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def good_ids(self) -> list[str]:
        return self.ids[-1:] if self.used else self.ids[-2:]


@dataclass(eq=False)
class Loaded:
    """What one request holds: the data when it was loaded, and as it is now."""

    stored: Stored
    session_id: str
    before: dict[str, Any]
    now: dict[str, Any]
    version: int
    basis: int  # the newest version of which all data is here
    ended: bool = False  # and this request knows it

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
        if old is not None:
            if old.stored.alive and old.stored.user == user and "kept" in old.stored.data:
                carried = {"kept": old.stored.data["kept"]}
            old.stored.alive, old.ended = False, True
        fresh = Stored(user, len(self.sessions), copy.deepcopy(carried | data), [session_id])
        self.sessions.append(fresh)
        for oldest in self.living(user)[:-CAP]:
            oldest.alive = False
        return fresh

    def load(self, session_id: str) -> Loaded | None:
        for one in self.living():
            if session_id in one.good_ids:
                one.used = one.used or session_id == one.ids[-1]
                data = copy.deepcopy(one.data), copy.deepcopy(one.data)
                return Loaded(one, session_id, *data, one.version, one.version)
        return None

    def save(self, loaded: Loaded, expected: int | None = None) -> bool:
        """Whether the session was there; without looking when there is nothing to write."""
        changed = loaded.changed
        if not changed and expected is None:
            return not loaded.ended
        if not self._reach(loaded):
            return False
        if expected is not None and expected != loaded.stored.version:
            raise Conflict
        for key in changed:
            if key in loaded.now:
                loaded.stored.data[key] = copy.deepcopy(loaded.now[key])
            else:
                loaded.stored.data.pop(key, None)
        self._wrote(loaded) if changed else None
        loaded.before = copy.deepcopy(loaded.now)
        return True

    def update(self, loaded: Loaded, key: str) -> bool:
        """Add one to `key`, with what is newest."""
        changed = loaded.changed
        others = {one: copy.deepcopy(loaded.now[one]) for one in changed & loaded.now.keys()}
        self._add_one(loaded, key)
        try:
            return self.save(loaded, loaded.basis)
        except Conflict:
            stored = loaded.stored
            loaded.before, loaded.now = copy.deepcopy(stored.data), copy.deepcopy(stored.data)
            loaded.version = loaded.basis = stored.version
            for one in changed - others.keys():
                loaded.now.pop(one, None)
            loaded.now |= others
            self._add_one(loaded, key)
            return self.save(loaded, loaded.basis)

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
            self._wrote(loaded)
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

    def renew(self, loaded: Loaded, session_id: str | None) -> bool:
        """Whether this is right of a request whose id is due: who holds the newest id gets a new one, who
        holds the one before gets the newest, and whoever holds an older one gets none."""
        ids = loaded.stored.ids
        if not self._there(loaded) or loaded.session_id not in ids[-2:]:
            return session_id is None
        if loaded.session_id == ids[-2:][0] != ids[-1]:
            return session_id == ids[-1]
        loaded.stored.used = False
        ids.append(session_id or "")
        return session_id is not None and session_id not in ids[:-1]

    def destroy(self, loaded: Loaded) -> bool:
        was_there = loaded.stored.alive
        loaded.stored.alive, loaded.ended = False, True
        return was_there

    def end_all(self, user: str, keep: Loaded | None = None) -> int:
        ended = [one for one in self.living(user) if keep is None or one is not keep.stored]
        for one in ended:
            one.alive = False
        return len(ended)

    def _reach(self, loaded: Loaded) -> bool:
        """Whether the session is there for this request, which then knows; whatever id it came with."""
        loaded.ended = not self._there(loaded)
        return not loaded.ended

    def _there(self, loaded: Loaded) -> bool:
        return loaded.stored.alive and not loaded.ended

    def _wrote(self, loaded: Loaded) -> None:
        loaded.stored.version += 1
        loaded.version = loaded.stored.version
        if loaded.version == loaded.basis + 1:
            loaded.basis = loaded.version

    def _add_one(self, loaded: Loaded, key: str) -> None:
        value = loaded.now.get(key)
        loaded.now[key] = value + 1 if type(value) is int else 1


def _text(data: dict[str, Any], key: str) -> str:
    """Equal values of different types are different: 1, True and 1.0."""
    return repr(data[key]) if key in data else "absent"
