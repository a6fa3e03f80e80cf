"""A call of one script, on its way to Redis and back, and the ways it can fail."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiredis import pack_command

Command = Sequence[str | bytes | int]

# Answers that say "not now".  Redis gives them before a script starts, so nothing was written.
NOT_NOW = (
    "OOM",
    "LOADING",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "BUSY",
)


class StoreUnavailable(Exception):
    """Redis gave no answer within the time limit, or an answer that means it cannot serve.

    `may_have_happened` is True when the call had been sent: a write may or may not have been applied.
    It is never repeated here; an operation id makes repeating an increment safe.
    """

    def __init__(self, reason: str, *, may_have_happened: bool) -> None:
        super().__init__(reason)
        self.may_have_happened = may_have_happened


class ScriptError(Exception):
    """Redis ran the script and it failed; the text begins with Redis's error code."""


class WrongType(ScriptError):
    """Something else than the engine wrote to this key."""


@dataclass(frozen=True)
class Script:
    """One Lua file and the name Redis caches it under."""

    text: str
    sha: str

    @classmethod
    def read(cls, path: Path) -> Script:
        text = path.read_text()
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class Request:
    """A script with its keys and arguments, packed for the wire once however often it is sent."""

    __slots__ = ("command", "packed", "script")

    def __init__(self, script: Script, keys: Sequence[str], args: Command) -> None:
        self.script = script
        self.command: Command = ("EVALSHA", script.sha, len(keys), *keys, *args)
        self.packed: bytes = pack_command(self.command)  # type: ignore[arg-type]

    def in_full(self) -> Command:
        """The command with the script itself, for a server that does not know its name."""
        return ("EVAL", self.script.text, *self.command[2:])


class Call:
    """A request on its way, and the future that its answer settles."""

    __slots__ = ("answer", "request", "sent_at")

    def __init__(self, request: Request, answer: asyncio.Future[Any]) -> None:
        self.request = request
        self.answer = answer
        self.sent_at = 0.0  # seconds of the event loop's clock

    def settle(self, answer: Any) -> None:
        """Hand over the answer, or the error; nothing to do where the request was cancelled."""
        if self.answer.done():
            return
        if not isinstance(answer, Exception):
            self.answer.set_result(answer)
        elif str(answer).startswith(NOT_NOW):
            self.fail(str(answer), may_have_happened=False)
        else:
            kind = WrongType if str(answer).startswith("WRONGTYPE") else ScriptError
            self.answer.set_exception(kind(str(answer)))

    def fail(self, reason: str, *, may_have_happened: bool) -> None:
        if not self.answer.done():
            self.answer.set_exception(StoreUnavailable(reason, may_have_happened=may_have_happened))
