"""`make nemesis`: the schedule, the run, the judgement, and the report."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.paths import ROOT
from lab.mutants.catalogue import Mutant
from lab.nemesis.campaign import carry_out
from lab.nemesis.controls import Control, try_all
from lab.nemesis.faults import FAULTS, Fault
from lab.nemesis.judge import Judgement, judge
from lab.nemesis.load import load
from lab.nemesis.one_machine import one_machine
from lab.nemesis.phases import Run, store_run
from lab.nemesis.report import about, as_table, verdict, write
from lab.nemesis.schedule import picked, schedule
from lab.settings import number, switch

RESULTS = ROOT / ".stack/nemesis"
QUICK_SECONDS = 150.0  # of faults: with the start and the end three minutes
QUICK = "worker killed,nginx process paused,redis paused,rolling restart,redis memory full,master and worker killed"
KEPT_RUNS = 10


def nemesis(environ: Mapping[str, str]) -> int:
    """0 when every promise and every limit was kept, 1 when not.

    SEED= chooses order and targets; FAULTS= names some, by the beginnings of their names; SECONDS= is how long faults
    begin for; QUICK=1 is three minutes with six faults; CONTROLS=1 also tries what is broken on purpose.
    SESSION_WRITES_ACKNOWLEDGED_BY is 1 unless it is given.
    """
    quick = switch(environ, "QUICK")
    seed = int(number(environ, "SEED", 1, 0, 1 << 32))
    acknowledged_by = int(number(environ, "SESSION_WRITES_ACKNOWLEDGED_BY", 1, 0, 2))
    seconds = number(environ, "SECONDS", 0, 0, 1200) or (QUICK_SECONDS if quick else None)
    faults = picked(FAULTS, environ.get("FAULTS") or (QUICK if quick else ""))
    folder = new_folder(seed)
    run(faults, seed, seconds, acknowledged_by, folder)
    code = conclude(judge(folder), folder)
    return max(code, 1 if switch(environ, "CONTROLS") and try_all(_control, folder) else 0)


def _control(control: Control, folder: Path) -> Judgement:
    folder.mkdir()
    faults = picked(FAULTS, control.fault)
    run(faults, 1, None, 1, folder, mutant=control.mutant, client=control.client)
    return judge(folder)


def run(
    faults: Sequence[Fault], seed: int, seconds: float | None, acknowledged_by: int, folder: Path,
    *, mutant: Mutant | None = None, client: str = "",
) -> None:  # fmt: skip
    """Leave the history and what was done in `folder`."""
    entries = schedule(faults, seed, seconds)
    names = tuple(fault.name for fault in faults)
    print(f"{len(entries)} faults, seed {seed}; history: {folder}/history.jsonl", flush=True)
    with one_machine(acknowledged_by, folder, mutant) as stage:
        with load(stage.edges, seed, folder, client) as visitors:
            phases = carry_out(stage, visitors, entries)
        about = Run(
            seed, acknowledged_by, "one machine", tuple(stage.edges), tuple(phases), names, seconds
        )
        store_run(about, folder)


def conclude(found: Judgement, folder: Path) -> int:
    """Print and draw what was found; the exit code."""
    print("\n".join(["", as_table(found), "", *about(found), verdict(found)]), flush=True)
    print(f"Report: {write(found, folder)}", flush=True)
    return 0 if found.passed else 1


def again(folder: Path) -> int:
    """Judge a stored run once more."""
    return conclude(judge(folder), folder)


def new_folder(seed: int) -> Path:
    """For a new run; the oldest beyond KEPT_RUNS are deleted."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-seed{seed}-{os.getpid()}"
    folder = RESULTS / name
    folder.mkdir()
    return folder
