"""A call of one script, on its way to Redis and back, and the ways it can fail."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hiredis import pack_command

Command = Sequence[str | bytes | int]

# Answers that Redis gives before a script starts, so nothing was written.
DID_NOT_RUN = (
    *("OOM", "BUSY", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "NOAUTH", "NOPERM"),
    *("READONLY", "LOADING", "MASTERDOWN", "MOVED", "ASK", "TRYAGAIN"),
)


def pack(command: Command) -> bytes:
    """As it goes over the wire."""
    packed: bytes = pack_command(command)  # type: ignore[arg-type]  # its types know one word
    return packed


class StoreUnavailable(Exception):
    """Redis gave no answer within the time limit, or an answer that means it cannot serve.

    `may_have_happened` is True when the call had been sent: a write may or may not have been applied.
    It is never repeated here; an operation id makes repeating an increment safe.
    """

    def __init__(self, reason: str, *, may_have_happened: bool) -> None:
        super().__init__(reason)
        self.may_have_happened = may_have_happened


class ScriptError(StoreUnavailable):
    """Redis ran the script and it failed; the text begins with Redis's error code."""

    def __init__(self, error: str) -> None:
        super().__init__(error, may_have_happened=True)


class WrongType(ScriptError):
    """Something else than the engine wrote to this key."""


@dataclass(frozen=True)
class Script:
    """One Lua file and the name Redis caches it under."""

    text: str
    sha: str
    acknowledged: bool = False  # an answer means that replicas have it, where they are asked for

    @classmethod
    def of(cls, text: str, *, acknowledged: bool = False) -> Script:
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        return cls(text, sha, acknowledged)


class Request:
    """A script with its keys and arguments, packed for the wire once however often it is sent."""

    __slots__ = ("command", "packed", "script")

    def __init__(self, script: Script, keys: Sequence[str], args: Command) -> None:
        self.script = script
        self.command: Command = ("EVALSHA", script.sha, len(keys), *keys, *args)
        self.packed = pack(self.command)

    def in_full(self) -> Command:
        """The command with the script itself, for a server that does not know its name."""
        return ("EVAL", self.script.text, *self.command[2:])


class PlainRequest(Request):
    """A command as it is, with a script in full or without one."""

    def __init__(self, *command: str | bytes | int) -> None:
        self.command = command
        self.packed = pack(command)


@dataclass(slots=True, eq=False)
class Call:
    """A request on its way, and the future that its answer settles."""

    request: Request
    answer: asyncio.Future[Any]
    sent_at: float = 0.0  # seconds of the event loop's clock
    since: float = 0.0  # the same, where a call may be sent to several nodes in turn

    def anew(self, request: Request, answer: asyncio.Future[Any]) -> Call:
        """Another call in place of this one, as old as it is."""
        return Call(request, answer, since=self.since)

    def refuse(self, error: str) -> None:
        """Hand over an error answer of Redis; nothing to do where the request was cancelled."""
        if error.startswith(DID_NOT_RUN):
            self.fail(error, may_have_happened=False)
        elif not self.answer.done():
            kind = WrongType if error.startswith("WRONGTYPE") else ScriptError
            self.answer.set_exception(kind(error))

    def fail(self, reason: str, *, may_have_happened: bool) -> None:
        if not self.answer.done():
            self.answer.set_exception(StoreUnavailable(reason, may_have_happened=may_have_happened))
