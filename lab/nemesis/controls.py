"""The negative controls: stacks and a client broken on purpose, of which the nemesis has to find something by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.mutants.catalogue import MUTANTS, Mutant
from lab.mutants.kinds import KINDS
from lab.nemesis.judge import Judgement
from loadtest.check.op import Invariant


@dataclass(frozen=True)
class Control:
    """The stack is broken, or what its visitors do (`client`).  It shows under `fault`."""

    fault: str
    mutant: Mutant
    client: str = ""

    @property
    def name(self) -> str:
        return self.mutant.name


def _known(name: str) -> Mutant:
    """One of those that the load test has to notice without any other fault."""
    return next(mutant for mutant in (*MUTANTS, *KINDS) if mutant.name == name)


CONTROLS = (
    Control("redis scripts flushed", _known("save re-creates after logout")),
    Control("replicas paused", Mutant("a client sends a POST again after an error", 10, Invariant.BOUNDS),
            client="repeating"),
    Control("stale master", Mutant("a stale master is asked again", 10, Invariant.READ_YOUR_WRITES,
                                   workers="lab.mutants.workers.server_kept")),
    Control("redis scripts flushed", _known("writes come 50 ms late")),
    Control("redis scripts flushed", _known("a worker has another key")),
    Control("redis scripts flushed", _known("a worker has another database")),
)  # fmt: skip
IN_CI = CONTROLS[:3]


def complaint(control: Control, found: Judgement) -> str:
    """What is not as it must be; empty when the control was found by its name."""
    broken = {one.invariant for one in found.violations}
    named, reason = control.mutant.named, control.mutant.reason
    if named not in broken:
        by = ", ".join(sorted(map(str, broken))) or "nothing"
        return f"{control.name}: found by {by}, not by {named}"
    if reason not in "\n".join(found.sentences()):
        return f"{control.name}: no sentence says: {reason}"
    return ""


def try_each(
    controls: Sequence[Control], run: Callable[[Control, Path], Judgement], folder: Path
) -> list[str]:
    """Each control in a run of its own; what went wrong."""
    found = []
    for number, control in enumerate(controls):
        said = complaint(control, run(control, folder / f"control-{number}"))
        print(said or f"control: {control.name}: found as {control.mutant.named}", flush=True)
        found += [said] if said else []
    return found
