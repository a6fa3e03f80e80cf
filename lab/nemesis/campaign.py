"""Does what the schedule says, to a stage under load, and notes when."""

from __future__ import annotations

import time
from collections.abc import Sequence

from deploy.refused import Refused
from lab.nemesis.load import Load, now
from lab.nemesis.phases import Phase
from lab.nemesis.schedule import Entry
from lab.nemesis.stage import Stage

WHOLE_SECONDS = 45.0
LOADED_SECONDS = 4.0  # under load once all is whole, for what fails late
POLL_SECONDS = 0.1
NOBODY_ELECTED = (
    "the Sentinels elected nobody at their first try, as may happen, and waited for the next"
)


def carry_out(stage: Stage, load: Load, entries: Sequence[Entry]) -> list[Phase]:
    """Each entry at its time or later, with what comes after it; Refused where the stage cannot be used."""
    wait_whole(stage, required=True)
    start, found = time.monotonic(), []
    for entry in entries:
        time.sleep(max(0.0, start + entry.at - time.monotonic()))
        if not load.alive():
            raise Refused(f"the generator has ended: {load.log}")
        print(f"{time.monotonic() - start:5.0f} s  {entry.fault.name} …", end=" ", flush=True)
        try:
            phase = _one(stage, load, entry)
        except AssertionError as error:  # of a wait
            raise Refused(f"{entry.fault.name}: {error}") from None
        seconds = (phase.whole - phase.began) / 1e9
        print(f"{phase.what}: whole after {seconds:.1f} s {'; '.join(phase.problems)}", flush=True)
        found.append(phase)
    return found


def wait_whole(stage: Stage, *, required: bool = False) -> tuple[str, ...]:
    """Until it is; what it still lacks after WHOLE_SECONDS, or Refused with that where it is `required`."""
    deadline = time.monotonic() + WHOLE_SECONDS
    while problems := stage.problems():
        if time.monotonic() > deadline:
            if required:
                raise Refused("; ".join(problems))
            return tuple(problems)
        time.sleep(POLL_SECONDS)
    return ()


def _one(stage: Stage, load: Load, entry: Entry) -> Phase:
    votes = stage.failed_votes()
    began = now()
    hurt = entry.fault.hurt(stage, entry.random())
    try:
        time.sleep(entry.fault.seconds)
    finally:
        hurt.undo()
    healed = now()
    problems = wait_whole(stage)
    whole = now()
    time.sleep(LOADED_SECONDS)
    rested = now()
    load.look()
    fault = entry.fault
    return Phase(
        entry.number, fault.name, hurt.what, fault.failover, began, healed, whole, rested, now(), problems,
        NOBODY_ELECTED if stage.failed_votes() > votes else "",
    )  # fmt: skip
