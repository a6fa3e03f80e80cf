"""The negative controls: stacks and a client broken on purpose, of which the nemesis has to find something by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.mutants.catalogue import Mutant
from lab.nemesis.judge import Judgement
from loadtest.check.op import Invariant


@dataclass(frozen=True)
class Control:
    """`workers` is the module its workers run, `client` what its visitors do wrong; under `fault` it shows."""

    name: str
    named: Invariant
    fault: str
    workers: str = ""
    client: str = ""

    @property
    def mutant(self) -> Mutant | None:
        """The broken stack; none where only the client is."""
        return Mutant(self.name, 10, self.named, workers=self.workers) if self.workers else None


CONTROLS = (
    Control(
        "a write that was under way undoes a logout", Invariant.LOGOUT_IS_FINAL, "redis scripts flushed",
        workers="lab.mutants.workers.save_recreates",
    ),
    Control(
        "a client sends a POST again after an error", Invariant.BOUNDS, "replicas paused", client="repeating",
    ),
    Control(
        "a stale master is asked again", Invariant.READ_YOUR_WRITES, "stale master",
        workers="lab.mutants.workers.server_kept",
    ),
)  # fmt: skip


def complaint(control: Control, found: Judgement) -> str:
    """What is not as it must be; empty when the control was found by its name."""
    broken = {one.invariant for one in found.violations}
    if control.named in broken:
        return ""
    by = ", ".join(sorted(map(str, broken))) or "nothing"
    return f"{control.name}: found by {by}, not by {control.named}"


def try_all(run: Callable[[Control, Path], Judgement], folder: Path) -> list[str]:
    """Each control in a run of its own; what went wrong."""
    found = []
    for number, control in enumerate(CONTROLS):
        said = complaint(control, run(control, folder / f"control-{number}"))
        print(said or f"control: {control.name}: found as {control.named}", flush=True)
        found += [said] if said else []
    return found
