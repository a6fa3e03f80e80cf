"""`python -m lab.policies`: measure, check every session, simulate, report.

Exit codes are the load test's: 0 reported, 10 a session was wrong, 13 no cell is valid, 14 no stack,
2 wrong setting; 130 after Ctrl-C, with a report of what was finished.
"""

import asyncio
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence

from lab.policies import plots
from lab.policies.drive import Run
from lab.policies.findings import findings
from lab.policies.measure import Measured, measure
from lab.policies.page import page
from lab.policies.policies import BASE
from lab.policies.results import Results, as_json, results_of
from lab.policies.settings import Settings, read_settings
from lab.policies.table import render
from lab.refusals import exit_code_of
from loadtest.check.history import HistoryWriter, lifetimes_of, read_header, read_ops
from loadtest.check.offline import check
from loadtest.check.online import Checker
from loadtest.check.op import Lifetimes
from loadtest.check.tally import Report, describe
from loadtest.load.preflight import NotReachable, survey
from loadtest.load.recorder import Recorder
from loadtest.verdict.verdict import Code

INTERRUPTED = 130


def main() -> int:
    """One comparison; returns its exit code."""
    return exit_code_of(_compare)


def _compare() -> int:
    settings = read_settings(os.environ)
    if not survey(settings.fronts[BASE], settings.password).slow:
        raise NotReachable("GET /slow is missing: the stack needs DEMO_ENDPOINTS=1")
    history = settings.out / "history.jsonl"
    lifetimes = Lifetimes()
    recorder = Recorder(Checker(lifetimes), HistoryWriter(history, lifetimes, seed=settings.seed))
    print(_announcement(settings), flush=True)
    measured = asyncio.run(_until_told(settings, recorder))
    recorder.close()
    online = recorder.checker.finish()
    offline = check(read_ops(history), lifetimes_of(read_header(history)))
    results = results_of(measured, settings)
    sentences = [*findings(results), _about_sessions(recorder, online, offline)]
    _store(settings, measured, results, sentences, online)
    print(render(results))
    print("\n" + "\n\n".join(sentences) + f"\n\nReport: {settings.out / 'report.html'}")
    return _code(results, online, offline)


async def _until_told(settings: Settings, recorder: Recorder) -> Measured:
    task = asyncio.ensure_future(measure(settings, recorder))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def _code(results: Results, online: Report, offline: Report) -> int:
    if online.violations or offline.violations:
        return Code.CONSISTENCY
    if results.interrupted:
        return INTERRUPTED
    cells = [entry.cell for outcome in results.outcomes for entry in outcome.entries.values()]
    valid = any(not cell.invalid for cell in cells)
    return Code.HOLDS if valid and online.counts() == offline.counts() else Code.PROVES_NOTHING


def _announcement(settings: Settings) -> str:
    names = ", ".join(workload.name for workload in settings.workloads)
    return (
        f"Comparing {len(settings.fronts)} rows under {names};"
        f" {settings.rounds} rounds, seed {settings.seed}. Ctrl-C ends it with a report."
    )


def _about_sessions(recorder: Recorder, online: Report, offline: Report) -> str:
    agreed = "agree" if online.counts() == offline.counts() else "DISAGREE"
    text = (
        f"Sessions: {recorder.requests:,} requests of {recorder.sessions} sessions, all policies in"
        f" turn; {online.violations} violations; the online and the offline checker {agreed}."
    )
    broken = [tally for tally in online.tallies.values() if tally.violations]
    return "\n".join([text, *(describe(op) for tally in broken for op in tally.witness)])


def _store(
    settings: Settings,
    measured: Measured,
    results: Results,
    sentences: Sequence[str],
    online: Report,
) -> None:
    """Leave report.html, report.json and the pictures in the run's folder."""
    about = _about(settings, measured)
    content = {
        **as_json(results),
        "findings": list(sentences),
        "about": about,
        "seed": settings.seed,
        "violations": online.violations,
        "runs": [_run(run) for run in measured.runs],
    }
    out = settings.out
    (out / "report.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (out / "report.html").write_text(page(results, sentences, about), encoding="utf-8")
    for stale in out.glob("*.png"):
        stale.unlink()
    if results.outcomes:
        plots.curves(results).savefig(out / "curves.png", dpi=110)
        plots.means(results).savefig(out / "means.png", dpi=110)
    if results.trapped:
        plots.trap(results.trapped).savefig(out / "trap.png", dpi=110)


def _run(run: Run) -> dict[str, object]:
    """Which lines of the history are this run's measured part."""
    numbers = [op.number for _, op in run.measured if op is not None]
    return {
        "policy": run.policy,
        "workload": run.workload,
        "round": run.round,
        "numbers": [min(numbers), max(numbers)] if numbers else [],
    }


def _about(settings: Settings, measured: Measured) -> list[str]:
    return [
        f"Each policy has an nginx of its own before the same workers. Every run lasts"
        f" {settings.seconds:g} s times its workload's weight after a warm-up of"
        f" {settings.warm_up:g} s; {settings.rounds} interleaved rounds; seed {settings.seed}.",
        "Arrivals are open and the same for every policy; latency counts from the moment a request was"
        " due. A cell is invalid when arrivals were dropped, requests failed, or the generator was busy"
        " or late.",
        f"The simulation has a fast request take {measured.fast_seconds * 1000:.2f} ms, measured on the"
        " idle stack, and knows no network, no other processes and no scheduler. Pinned users are on"
        " the workers they were seen on.",
        f"Machine: {os.cpu_count()} cores shared by generator, nginx, workers and Redis; load average"
        f" {os.getloadavg()[0]:.1f}; {platform.system()}, Python {platform.python_version()}.",
    ]


if __name__ == "__main__":
    sys.exit(main())
