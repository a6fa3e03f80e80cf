"""The schedule: which fault begins when, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lab.nemesis.faults import Fault
from lab.settings import WrongSetting


@dataclass(frozen=True)
class Entry:
    """A fault, planned for so many seconds after the start; `seed` is that of its choices."""

    number: int
    at: float
    fault: Fault
    seed: str

    def random(self) -> Random:
        return Random(self.seed)


def schedule(faults: Sequence[Fault], seed: int, seconds: float | None = None) -> list[Entry]:
    """Each of `faults` once in an order of the seed's; with `seconds` as many as these hold, round after round.

    A fault that takes longer than planned makes the rest begin later, in the same order.
    """
    random, found, at = Random(f"schedule {seed}"), list[Entry](), 0.0
    while True:
        for fault in random.sample(faults, len(faults)):
            if seconds is not None and found and at + fault.takes > seconds:
                return found
            number = len(found) + 1
            found.append(Entry(number, at, fault, f"{seed} {number} {fault.name}"))
            at += fault.takes
        if seconds is None:
            return found


def picked(faults: Sequence[Fault], names: str) -> list[Fault]:
    """Those that a list with commas names, each by its whole name or the beginning of it; all without names.

    WrongSetting: nothing is called so.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    found: list[Fault] = []
    for name in wanted:
        exact = [fault for fault in faults if fault.name == name]
        same = exact or [fault for fault in faults if fault.name.startswith(name)]
        if not same:
            known = ", ".join(fault.name for fault in faults)
            raise WrongSetting(f"FAULTS={name}: there is no such fault; there are {known}")
        found += [fault for fault in same if fault not in found]
    return found if wanted else list(faults)
