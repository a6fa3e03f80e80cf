"""`make loadtest-mutants`: break the stack in one way after the other, and see that each is caught.

    python -m lab.mutants [NAME ...]      QUICK=1 for the short form

The long form tries each with three seeds, and draws a report of the first:
`.stack/mutants/*/loadtest/report.html`.

Exit code 1 when a mutant goes unnoticed, is caught by something else than the invariant named for it,
or when a right stack is found broken.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.native.scratch import Scratch, scratch_stack
from deploy.paths import ROOT
from lab.mutants.catalogue import MUTANTS, Mutant
from lab.mutants.trial import Load, Trial, try_mutant
from lab.settings import switch
from loadtest.verdict.verdict import Code

RESULTS = ROOT / ".stack/mutants"  # logs and histories, and a report of each that was drawn
UPSTREAM = ROOT / "nginx/upstream.conf"
QUICK = (Load(seconds=4, users=10, rate=20, seed=1),)
FULL = tuple(Load(seconds=8, users=16, rate=40, seed=seed, report=seed == 1) for seed in (1, 2, 3))


def main(names: Sequence[str]) -> int:
    """Try the mutants with these names, or all."""
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        print(f"no such mutant: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    quick = switch(os.environ, "QUICK")
    shutil.rmtree(RESULTS, ignore_errors=True)
    with scratch_stack(UPSTREAM, os.environ) as stack:
        return try_all(chosen, QUICK if quick else FULL, stack, RESULTS)


def try_all(mutants: Sequence[Mutant], loads: Sequence[Load], stack: Scratch, folder: Path) -> int:
    """Print the table line by line, then a sentence; 1 when a line has a complaint."""
    print(f"{'mutant':<36}{'exit code':>9}  {'caught by':<26}{'requests':>9}{'seconds':>9}")
    complaints = 0
    for mutant in mutants:
        for load in loads:
            where = folder / f"{re.sub('[^a-z]+', '-', mutant.name.lower())}-{load.seed}"
            trial = try_mutant(mutant, stack, where, load)
            print(_line(trial), flush=True)
            complaints += trial.complaint is not None
    print(_sentence(mutants, complaints))
    return 1 if complaints else 0


def _line(trial: Trial) -> str:
    mutant, run = trial.mutant, trial.run
    by = mutant.named if mutant.named in run.broken else "nothing"
    if run.code == Code.SPREAD:
        by = "the spread"
    counts = run.verdict.get("counts", {})
    requests = trial.caught.requests if trial.caught else counts.get("requests", 0)
    seconds = f"{trial.caught.seconds:.2f}" if trial.caught else "the end"
    line = f"{mutant.name:<36}{run.code:>9}  {by:<26}{requests:>9,}{seconds:>9}"
    return f"{line}\n    WRONG: {trial.complaint}" if trial.complaint else line


def _sentence(mutants: Sequence[Mutant], complaints: int) -> str:
    broken = sum(mutant.broken for mutant in mutants)
    if complaints:
        return f"\nFAIL: {complaints} of these runs did not end as they must."
    return (
        f"\nPASS: {broken} broken stacks, each caught by what is named for it;"
        f" {len(mutants) - broken} right ones, none accused."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
