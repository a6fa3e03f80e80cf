"""`make nemesis`: the schedule, the run, the judgement, and the report."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from deploy.paths import ROOT
from deploy.refused import Refused
from lab.hosts.network import why_not
from lab.measurements import write_block
from lab.mutants.catalogue import Mutant
from lab.nemesis.campaign import carry_out
from lab.nemesis.controls import CONTROLS, IN_CI, Control, try_each
from lab.nemesis.faults import FAULTS, Fault
from lab.nemesis.host_faults import HOST_FAULTS, has_faketime
from lab.nemesis.judge import Judgement, judge
from lab.nemesis.load import load
from lab.nemesis.one_machine import one_machine
from lab.nemesis.phases import RUN, Run, store_run
from lab.nemesis.picture import draw
from lab.nemesis.report import about, as_table, verdict, write
from lab.nemesis.schedule import picked, schedule
from lab.nemesis.several_hosts import on_hosts
from lab.nemesis.stage import Stage
from lab.report import write_picture
from lab.settings import WrongSetting, number, switch, whole

RESULTS = ROOT / ".stack/nemesis"
ALL = (*FAULTS, *HOST_FAULTS)
# With QUICK=1: one of each kind, on hosts and without.
QUICK = "worker killed,edge lost,reload,worker host cut off from the store,split brain,master and worker killed"
QUICK_WITHOUT_HOSTS = "worker killed,nginx process paused,rolling restart,stale master,redis memory full,master and worker killed"
KEPT_RUNS = 10


def nemesis(environ: Mapping[str, str]) -> int:
    """0 when every promise and every limit was kept, 1 when not.

    SEED= chooses order and targets; FAULTS= names some, by the beginnings of their names; SECONDS= is how long faults
    begin for; QUICK=1 is three minutes with six faults; CONTROLS=1 also tries three of the controls, CONTROLS=all all.
    WRITE=1 puts the table and the picture into the documentation.
    SESSION_WRITES_ACKNOWLEDGED_BY is 1 unless it is given.  Without the right to make hosts, or with HOSTS=0, it is
    one machine, and faults that need hosts are left out.
    """
    hosts = _hosts_here(environ)
    quick = QUICK if hosts else QUICK_WITHOUT_HOSTS
    seed = whole(environ, "SEED", 1, 0, 1 << 32)
    acknowledged_by = whole(environ, "SESSION_WRITES_ACKNOWLEDGED_BY", 1, 0, 2)
    seconds = number(environ, "SECONDS", 0, 0, 1200) or None
    names = environ.get("FAULTS") or (quick if switch(environ, "QUICK") else "")
    faults = list(possible(picked(ALL, names), hosts=hosts))
    folder = new_folder(seed)
    run(faults, seed, seconds, acknowledged_by, folder, hosts=hosts)
    found = judge(folder)
    code = conclude(found, folder)
    if switch(environ, "WRITE"):
        text = "\n\n".join([as_table(found, markdown=True), *about(found)])
        write_block("nemesis", text, ROOT / "docs/nemesis.md")
        write_picture("nemesis", draw(found.run, found.ops))
    return max(code, 1 if try_each(controls(environ), _control, folder) else 0)


def controls(environ: Mapping[str, str]) -> Sequence[Control]:
    """Those that CONTROLS asks for: none, the three of CI, or all."""
    if environ.get("CONTROLS") == "all":
        return CONTROLS
    return IN_CI if switch(environ, "CONTROLS") else ()


def _hosts_here(environ: Mapping[str, str]) -> bool:
    reason = "HOSTS=0" if environ.get("HOSTS") == "0" else why_not()
    if reason:
        print(
            f"on one machine, without the faults of whole hosts and of the network: {reason}",
            flush=True,
        )
    return not reason


def possible(faults: Sequence[Fault], *, hosts: bool) -> Iterator[Fault]:
    """Those for which all is there; WrongSetting when that is none."""
    there = {"hosts": hosts, "faketime": has_faketime()}
    missing = {fault.name: need for fault in faults for need in fault.needs if not there[need]}
    if missing.get("clock one hour ahead") == "faketime" and hosts:
        print("left out: clock one hour ahead (Debian: libfaketime)", flush=True)
    if len(missing) == len(faults):
        raise WrongSetting(
            f"FAULTS={','.join(missing)}: needs {', '.join(sorted(set(missing.values())))}"
        )
    return (fault for fault in faults if fault.name not in missing)


def _control(control: Control, folder: Path) -> Judgement:
    folder.mkdir()
    faults = picked(FAULTS, control.fault)
    mutant = control.mutant if control.mutant.broken else None
    run(faults, 1, None, 1, folder, mutant=mutant, client=control.client)
    return judge(folder)


def run(
    faults: Sequence[Fault], seed: int, seconds: float | None, acknowledged_by: int, folder: Path,
    *, hosts: bool = False, mutant: Mutant | None = None, client: str = "",
) -> None:  # fmt: skip
    """Leave the history and what was done in `folder`."""
    entries = schedule(faults, seed, seconds)
    names = tuple(fault.name for fault in faults)
    print(f"{len(entries)} faults, seed {seed}; history: {folder}/history.jsonl", flush=True)
    place: AbstractContextManager[Stage] = (
        on_hosts(acknowledged_by) if hosts else one_machine(acknowledged_by, folder, mutant)
    )
    with place as stage:
        with load(stage.edges, seed, folder, client) as visitors:
            phases = carry_out(stage, visitors, entries)
        edges = tuple(stage.edges)
        about = Run(seed, acknowledged_by, stage.name, edges, tuple(phases), names, seconds)
        store_run(about, folder)


def conclude(found: Judgement, folder: Path) -> int:
    """Print and draw what was found; the exit code."""
    print("\n".join(["", as_table(found), "", *about(found), verdict(found)]), flush=True)
    print(f"Report: {write(found, folder)}", flush=True)
    return 0 if found.passed else 1


def again(folder: Path) -> int:
    """Judge a stored run once more; Refused where none is stored."""
    if not (folder / RUN).is_file():
        raise Refused(f"{folder} is not the folder of a run: they are in {RESULTS}")
    return conclude(judge(folder), folder)


def new_folder(seed: int) -> Path:
    """For a new run; the oldest beyond KEPT_RUNS are deleted."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-seed{seed}-{os.getpid()}"
    folder = RESULTS / name
    folder.mkdir()
    for old in sorted(RESULTS.glob("*-seed*"))[:-KEPT_RUNS]:
        shutil.rmtree(old)
    return folder
