"""`make loadtest-mutants`: break the stack in one way after the other, and see that each is caught.

    python -m lab.mutants [NAME ...]      QUICK=1 for the short form

The long form tries each by itself, with three seeds, and draws a report of the first:
`.stack/mutants/*/loadtest/report.html`. The short form puts faults that break different promises on one stack.
Two stacks are tried side by side where there are two processors.

A mutant that a run has missed is tried once more, for longer: a slow machine sends fewer requests.
Exit code 1 when a mutant goes unnoticed, is caught by something else than the invariant named for it,
or when a right stack is found broken.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from deploy.native.scratch import Scratch, scratch_stack
from deploy.paths import ROOT
from lab.mutants.catalogue import MUTANTS, Mutant
from lab.mutants.kinds import KINDS, together
from lab.mutants.trial import Load, Trial, try_mutant
from lab.settings import switch
from loadtest.verdict.verdict import Code

RESULTS = ROOT / ".stack/mutants"  # logs and histories, and a report of each that was drawn
UPSTREAM = ROOT / "nginx/upstream.conf"
LANES = 2
LONGER = 4  # times, for a second try of a fault that a slow machine gave too few requests to be met
QUICK = (Load(seconds=4, users=10, rate=20, seed=1),)
FULL = tuple(Load(seconds=8, users=16, rate=40, seed=seed, report=seed == 1) for seed in (1, 2, 3))


def main(names: Sequence[str]) -> int:
    """Try the mutants with these names, or all."""
    every = (*MUTANTS, *KINDS)
    unknown = set(names) - {mutant.name for mutant in every}
    if unknown:
        print(f"no such mutant: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    quick = switch(os.environ, "QUICK")
    chosen = [mutant for mutant in every if mutant.name in names]
    if not names:
        chosen = [*MUTANTS, *(together(KINDS) if quick else KINDS)]
    shutil.rmtree(RESULTS, ignore_errors=True)
    with ExitStack() as running:
        lanes = range(min(LANES, len(chosen), os.cpu_count() or 1))
        stacks = [running.enter_context(scratch_stack(UPSTREAM, os.environ)) for _ in lanes]
        return try_all(chosen, QUICK if quick else FULL, stacks, RESULTS)


def try_all(
    mutants: Sequence[Mutant], loads: Sequence[Load], stacks: Sequence[Scratch], folder: Path
) -> int:
    """Print the table line by line, then a sentence; 1 when a line has a complaint.

    As many mutants are tried side by side as there are `stacks`, each beside one of its own.
    """
    print(f"{'mutant':<42}{'exit code':>9}  {'caught by':<26}{'requests':>9}{'seconds':>9}")
    free: SimpleQueue[Scratch] = SimpleQueue()
    for stack in stacks:
        free.put(stack)

    def try_next(mutant: Mutant, load: Load) -> Trial:
        stack = free.get()
        try:
            name = re.sub("[^a-z0-9]+", "-", mutant.name.lower())
            trial = try_mutant(mutant, stack, folder / f"{name}-{load.seed}", load)
            if trial.complaint and mutant.broken:
                longer = replace(load, seconds=LONGER * load.seconds)
                trial = try_mutant(mutant, stack, folder / f"{name}-{load.seed}-longer", longer)
            return trial
        finally:
            free.put(stack)

    with ThreadPoolExecutor(len(stacks)) as pool:
        tries = [pool.submit(try_next, mutant, load) for mutant in mutants for load in loads]
        complaints = sum(_say(future.result()) for future in tries)
    print(_sentence(mutants, complaints))
    return 1 if complaints else 0


def _say(trial: Trial) -> bool:
    """Print the line of a trial; True when it has a complaint."""
    print(_line(trial), flush=True)
    return trial.complaint is not None


def _line(trial: Trial) -> str:
    mutant, run = trial.mutant, trial.run
    by = str(mutant.named) if mutant.named in run.broken else "nothing"
    if mutant.also:
        by = f"{len(run.broken.intersection(mutant.names))} invariants"
    elif mutant.broken and run.code in (Code.SPREAD, Code.SLO):
        by = "the spread" if run.code == Code.SPREAD else "the worker's name"
    counts = run.verdict.get("counts", {})
    requests = trial.caught.requests if trial.caught else counts.get("requests", 0)
    seconds = f"{trial.caught.seconds:.2f}" if trial.caught else "the end"
    line = f"{mutant.name:<42}{run.code:>9}  {by:<26}{requests:>9,}{seconds:>9}"
    return f"{line}\n    WRONG: {trial.complaint}" if trial.complaint else line


def _sentence(mutants: Sequence[Mutant], complaints: int) -> str:
    faults = sum(max(1, len(mutant.faults)) for mutant in mutants if mutant.broken)
    if complaints:
        return f"\nFAIL: {complaints} of these runs did not end as they must."
    return (
        f"\nPASS: {faults} faults, each caught by what is named for it;"
        f" {sum(not mutant.broken for mutant in mutants)} right stacks, none accused."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
