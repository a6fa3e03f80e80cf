"""What the session engine has done since this worker started, as plain numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .wire.calls import DID_NOT_RUN, ScriptError, StoreUnavailable


@dataclass
class Counters:
    """Each is a total of this process; the engine only ever adds."""

    loads: int = 0  # sessions asked for, found or not
    saves: int = 0  # changes written: saves, increments and pops
    conflicts: int = 0  # compare-and-set attempts that another writer was ahead of
    gone: int = 0  # writes dropped because the session had ended: logout is final
    renewals: int = 0  # ids replaced by timed renewal
    evicted: int = 0  # sessions ended by the cap per user
    corrupt: int = 0  # sessions ended because Redis held something that is not a session
    errors: int = 0  # calls without a usable answer from Redis

    def __post_init__(self) -> None:
        self.errors_by_kind: Counter[tuple[str, ...]] = Counter()

    def note_error(self, error: StoreUnavailable) -> None:
        self.errors += 1
        self.errors_by_kind[(_kind(error),)] += 1


def _kind(error: StoreUnavailable) -> str:
    """One of a few words: Redis's own code in small letters where it refused, else what went wrong."""
    text = str(error)
    code = text.partition(" ")[0]
    if code in DID_NOT_RUN:
        return code.lower()
    if isinstance(error, ScriptError):
        return "script"
    if text.startswith("no answer"):
        return "timeout"
    return "not acknowledged" if "acknowledged" in text else "connection"
