"""What the session engine has done since this worker started, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass


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
