"""Broken on purpose: what was written does not come back as it was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from app.handlers import api
from app.sessions import Session
from lab.mutants.workers.replaced import Faults, Sessions, is_rested, put_in

REST_MS = 900  # what is gone after that long without a request


def read_as(change: Callable[[Any], Any]) -> Callable[[], None]:
    """The answer to a writer is right, and a later reader gets another value."""

    def fault() -> None:
        def broken(self: api.Data, key: str) -> None:
            if key not in self.visitor:
                self.answer_json(404, {"error": "not there"})
                return
            value, version = change(self.visitor[key]), self.visitor.version
            self.answer_json(200, {"key": key, "value": value, "version": version})

        put_in(api.Data, "get", broken)

    return fault


def cut(value: Any) -> Any:
    """As a column that is too short for some texts."""
    return value[:4000] if isinstance(value, str) else value


def round_off(value: Any) -> Any:
    """As a column of single precision."""
    return float(f"{value:.9g}") if type(value) is float else value


def wrap(value: Any) -> Any:
    """As a column of 32 bits."""
    return (value + 2**31) % 2**32 - 2**31 if type(value) is int else value


def trim(value: Any) -> Any:
    """As a form that is too helpful."""
    return value.strip() if isinstance(value, str) else value


def mix_case() -> None:
    """A store that does not tell capitals from small letters."""
    for name in ("get", "put", "delete"):
        method = getattr(api.Data, name)
        put_in(api.Data, name, lambda self, key, method=method: method(self, key.lower()))


def take_nothing_for_absent() -> None:
    """`if value:` where `if value is not None:` was meant."""
    put = api.Data.put

    async def broken(self: api.Data, key: str) -> None:
        value = self.read_json()
        if value:
            await put(self, key)
            return
        self.visitor["spare"] = time.time()  # so that the version grows
        await self.services.sessions.save(self.visitor)
        self.answer_json(200, {"key": key, "value": value, "version": self.visitor.version})

    put_in(api.Data, "put", broken)


def forget_fields() -> None:
    """Fields lie in a cache that drops what is not asked for."""
    get, prepare = api.Data.get, api.Data.prepare

    async def remember(self: api.Data) -> None:
        await prepare(self)
        self.rested = self.session is not None and await is_rested(self.session, REST_MS)  # type: ignore[attr-defined]

    def broken(self: api.Data, key: str) -> None:
        if self.rested and self.request.method == "GET":  # type: ignore[attr-defined]
            self.answer_json(404, {"error": "forgotten"})
        else:
            get(self, key)

    put_in(api.Data, "prepare", remember)
    put_in(api.Data, "get", broken)


def forget_visits() -> None:
    """The counter is in such a cache."""
    load = Sessions.load

    async def broken(self: Sessions, session_id: str, *, touch: bool = True) -> Session | None:
        session = await load(self, session_id, touch=touch)
        if session is not None and await is_rested(session, REST_MS):
            session._values.pop("visits", None)
        return session

    put_in(Sessions, "load", broken)


def drop_a_neighbour() -> None:
    """Who writes one field loses another one."""
    put = api.Data.put

    async def broken(self: api.Data, key: str) -> None:
        others = [name for name in self.visitor if name not in (key, "visits", "counter")]
        if len(others) > 2:
            self.visitor.pop(others[0])
        await put(self, key)

    put_in(api.Data, "put", broken)


def stand_still() -> None:
    """The version is told as it was at the first look of this worker."""
    seen: dict[str, int] = {}
    get = api.SessionInfo.get

    def broken(self: api.SessionInfo) -> None:
        self.visitor.version = seen.setdefault(self.visitor.digest, self.visitor.version)
        get(self)

    put_in(api.SessionInfo, "get", broken)


FAULTS: Faults = {
    "long texts are cut": read_as(cut),
    "numbers lose digits": read_as(round_off),
    "numbers wrap at 32 bits": read_as(wrap),
    "texts are trimmed": read_as(trim),
    "keys lose their case": mix_case,
    "nothing is taken for absent": take_nothing_for_absent,
    "fields are forgotten at rest": forget_fields,
    "visits are forgotten at rest": forget_visits,
    "a write drops another field": drop_a_neighbour,
    "the version stands still": stand_still,
}
