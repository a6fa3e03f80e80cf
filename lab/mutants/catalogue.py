"""The broken stacks, and for each the invariant or the reason that has to notice it.

A right stack stands among them twice: it must pass, and when Redis freezes it may be slow, never wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtest.check.op import Invariant

VARIABLE = "MUTANT_FAULTS"  # tells a faulty worker what to break
POLICY = "zone app 512k;"  # a line of the upstream; what names a policy is written after it


@dataclass(frozen=True)
class Mutant:
    """One stack, and how a run against it has to end.

    `workers` is the module its workers run instead of `app`, `faults` what is to be broken in it; `upstream`
    a pair of texts, the second of which stands in the place of the first in its upstream file.  `reason` is
    part of the verdict.
    """

    name: str
    code: int
    named: Invariant | None = None
    reason: str = ""
    workers: str = ""
    upstream: tuple[str, str] = ("", "")
    redis_freezes: bool = False
    faults: tuple[str, ...] = ()  # of lab.mutants.workers.faulty
    also: tuple[Invariant, ...] = ()  # that it has to break besides
    only_one: bool = False  # one of the workers is broken, the others are right
    settings: Mapping[str, str] = field(default_factory=dict)  # of all its workers
    own: Mapping[str, str] = field(default_factory=dict)  # of the broken ones
    seconds: int = 0  # that it needs more than others
    only_long: bool = False  # the short form has others that are like it

    @property
    def names(self) -> tuple[Invariant, ...]:
        """All invariants that it has to break."""
        return (self.named, *self.also) if self.named else self.also

    @property
    def broken(self) -> bool:
        """Whether something is wrong with it that the load test has to find."""
        return bool(self.workers or self.upstream[0] or self.own)


def _module(name: str) -> str:
    return f"lab.mutants.workers.{name}"


MUTANTS = (
    Mutant("none", 0),
    Mutant("none, Redis freezes", 12, redis_freezes=True),
    Mutant(
        "sessions in worker memory", 10, Invariant.NO_PHANTOM_LOGOUT,
        workers=_module("worker_memory"),
    ),
    Mutant(
        "read, change and write back whole", 10, Invariant.NO_LOST_UPDATE,
        workers=_module("blob_write"),
    ),
    Mutant(
        "save re-creates after logout", 10, Invariant.LOGOUT_IS_FINAL,
        workers=_module("save_recreates"),
    ),
    Mutant(
        "ended device only leaves the list", 10, Invariant.END_IS_FINAL,
        workers=_module("end_unlists"),
    ),
    Mutant(
        "write puts back what was deleted", 10, Invariant.DELETE_IS_FINAL,
        workers=_module("write_restores"),
    ),
    Mutant(
        "one second of cache per worker", 10, Invariant.READ_YOUR_WRITES,
        workers=_module("read_cache"),
    ),
    Mutant(
        "client retries, Redis freezes", 10, Invariant.QUIESCENT_COUNT,
        workers=_module("client_retries"), redis_freezes=True,
    ),
    Mutant(
        "user in a global across an await", 10, Invariant.IDENTITY,
        workers=_module("user_in_global"),
    ),
    Mutant(
        "session id kept at login", 10, Invariant.NEW_ID_AT_LOGIN,
        workers=_module("id_kept"),
    ),
    Mutant(
        "ip_hash switched on", 11, reason="1 worker answered, the upstream lists",
        upstream=(POLICY, f"{POLICY} ip_hash;"),
    ),
    Mutant(
        "sessions pinned by their cookie", 11, reason="sessions stick to their worker",
        upstream=(POLICY, f"{POLICY} hash $cookie_sid consistent;"),
    ),
    Mutant(
        "a worker missing from the upstream", 11, reason="workers answered, the upstream lists",
        upstream=("server 127.0.0.1:", "# server 127.0.0.1:"),
    ),
)  # fmt: skip
