"""What was done when: one phase a fault, kept beside the history, in the history's clock."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

ONE_MACHINE = "one machine"  # the stage without hosts
RUN = "nemesis.json"


@dataclass(frozen=True)
class Phase:
    """One fault, from the moment it began to the moment after which nothing was under way.

    `healed` is when nothing was wrong any more by itself; `whole` when everything ran and was ready, by its own
    account.  Then the visitors rested, from `rested` to `ended`.  Times are nanoseconds.
    """

    number: int
    fault: str
    what: str  # it was done to
    failover: bool
    began: int
    healed: int
    whole: int
    rested: int
    ended: int
    problems: tuple[str, ...] = ()  # why it was not whole in time
    excuse: str = ""  # why its limits are not judged


@dataclass(frozen=True)
class Run:
    """What has to be known of a run to judge its history."""

    seed: int
    acknowledged_by: int
    stage: str
    edges: tuple[str, ...]
    phases: tuple[Phase, ...] = ()
    faults: tuple[str, ...] = ()  # as FAULTS= names them, to do it again
    seconds: float | None = None  # SECONDS=

    @property
    def again(self) -> str:
        """The command that does the same once more."""
        by = self.acknowledged_by
        more = "" if by == 1 else f" SESSION_WRITES_ACKNOWLEDGED_BY={by}"
        more += f" SECONDS={self.seconds:g}" if self.seconds else ""
        more += " HOSTS=0" if self.stage == ONE_MACHINE else ""
        return f"make nemesis SEED={self.seed}{more} FAULTS='{','.join(self.faults)}'"

    def during(self, moment: int) -> str:
        """The fault that had begun last by then."""
        begun = [phase.fault for phase in self.phases if phase.began <= moment]
        return begun[-1] if begun else "before any fault"


def store_run(run: Run, folder: Path) -> None:
    text = json.dumps(asdict(run), indent=1)
    (folder / RUN).write_text(text + "\n", encoding="utf-8")


def read_run(folder: Path) -> Run:
    """What `store_run` kept.  OSError, ValueError, KeyError or TypeError: it is no such folder."""
    found = json.loads((folder / RUN).read_text(encoding="utf-8"))
    phases = tuple(
        Phase(**{**one, "problems": tuple(one["problems"])}) for one in found.pop("phases")
    )
    edges, faults = tuple(found.pop("edges")), tuple(found.pop("faults"))
    return Run(**found, phases=phases, edges=edges, faults=faults)
