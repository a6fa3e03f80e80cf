"""A call of one script, on its way to Redis and back, and the ways it can fail."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Script:
    """One Lua file and the name Redis caches it under."""

    text: str
    sha: str

    @classmethod
    def read(cls, path: Path) -> Script:
        text = path.read_text()
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class Call:
    """A script with its keys and arguments, and the future that its answer settles."""

    __slots__ = ("answer", "command", "script", "sent_at")

    def __init__(
        self, script: Script, keys: Sequence[str], args: Command, answer: asyncio.Future[Any]
    ) -> None:
        self.script = script
        self.command: Command = ("EVALSHA", script.sha, len(keys), *keys, *args)
        self.answer = answer
        self.sent_at = 0.0  # seconds of the event loop's clock

    def in_full(self) -> Command:
        """The command with the script itself, for a server that does not know its name."""
        return ("EVAL", self.script.text, *self.command[2:])

    def settle(self, answer: Any) -> None:
        """Hand over the answer, or the error; nothing to do where the request was cancelled."""
        if self.answer.done():
            return
        if not isinstance(answer, Exception):
            self.answer.set_result(answer)
        elif str(answer).startswith(NOT_NOW):
            self.fail(str(answer), may_have_happened=False)
        else:
            self.answer.set_exception(ScriptError(str(answer)))

    def fail(self, reason: str, *, may_have_happened: bool) -> None:
        if not self.answer.done():
            self.answer.set_exception(StoreUnavailable(reason, may_have_happened=may_have_happened))
