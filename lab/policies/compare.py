"""`python -m lab policies`: measure, check every session, simulate, report.

Exit codes are the load test's: 0 reported, 10 a session was wrong, 13 no cell is valid, 14 no stack,
2 wrong setting; 130 after Ctrl-C, with a report of what was finished.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from deploy.native.site import NativeSite
from deploy.operations.find import find_stack
from deploy.operations.native import NativeStack
from deploy.operations.with_stack import native_site, started_stack
from deploy.refused import Refused
from lab.experiment import INTERRUPTED, run_until_told
from lab.measurements import write_block
from lab.policies import plots
from lab.policies.cells import Run
from lab.policies.findings import findings
from lab.policies.fronts import running_fronts
from lab.policies.measure import Measured, measure
from lab.policies.policies import BASE
from lab.policies.results import Results, as_json, results_of
from lab.policies.settings import Settings, read_settings
from lab.policies.table import render
from lab.report import Part, machine, paragraphs, preformatted, write_picture, write_report
from loadtest.check.history import HistoryWriter, lifetimes_of, read_header, read_ops
from loadtest.check.offline import check
from loadtest.check.online import Checker
from loadtest.check.op import Lifetimes
from loadtest.check.tally import Report, explain
from loadtest.load.preflight import NotReachable, survey
from loadtest.load.recorder import Recorder
from loadtest.verdict.verdict import Code

UNREACHABLE = "from here only nginx of a stack in Docker can be reached, not its workers"


def compare(environ: Mapping[str, str]) -> int:
    """One comparison; returns its exit code.

    With HOST or FRONTS nothing is started; else an nginx for each policy, before the workers of one stack.
    """
    settings = read_settings(environ)
    if environ.get("HOST") or environ.get("FRONTS"):
        return _compare(settings)
    with _site(environ) as site:
        print("starting an nginx for each policy", flush=True)
        with running_fronts(site) as fronts:
            return _compare(replace(settings, addresses=fronts))


@contextmanager
def _site(environ: Mapping[str, str]) -> Iterator[NativeSite]:
    """The running stack of this folder, or one that is started because none runs that can be compared."""
    stack = find_stack(environ)
    if isinstance(stack, NativeStack) and stack.options.https.only:
        raise Refused("policies are compared over http, and this stack has HTTPS_ONLY=1")
    if stack is None or isinstance(stack, NativeStack):
        with native_site(environ) as site:
            yield site
        return
    print(f"{UNREACHABLE}: {stack.name} is not compared", flush=True)
    with started_stack(environ) as site:
        yield site


def _compare(settings: Settings) -> int:
    if "slow" in survey(settings.fronts[BASE], settings.password).missing:
        raise NotReachable("GET /slow is missing: the stack needs DEMO_ENDPOINTS=1")
    history, lifetimes = settings.out / "history.jsonl", Lifetimes()
    recorder = Recorder(Checker(lifetimes), HistoryWriter(history, lifetimes, seed=settings.seed))
    print(_announcement(settings), flush=True)
    measured = Measured()
    run_until_told(measure(settings, recorder, measured))
    recorder.close()
    online = recorder.checker.finish()
    offline = check(read_ops(history), lifetimes_of(read_header(history)))
    results = results_of(measured, settings)
    sentences = [*findings(results), _about_sessions(recorder, online, offline)]
    print(render(results))
    print("\n" + "\n\n".join(sentences))
    _report(settings, measured, results, sentences, online)
    return _code(results, online, offline)


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
    return "\n".join([text, *(line for tally in broken for line in explain(tally.witness))])


def _report(
    settings: Settings,
    measured: Measured,
    results: Results,
    sentences: Sequence[str],
    online: Report,
) -> None:
    """Leave the report in the run's folder; with WRITE=1 also in docs/."""
    about, pictures = _about(settings, measured), plots.draw(results)
    content = {
        **as_json(results),
        "findings": list(sentences),
        "about": about,
        "seed": settings.seed,
        "violations": online.violations,
        "runs": [_run(run) for run in measured.runs],
    }
    interrupted = ["Interrupted: this is what was finished before."] * results.interrupted
    table = [preformatted(render(results))] if results.outcomes else []
    parts: list[Part] = [*paragraphs(interrupted, bad=True), *paragraphs(sentences)]
    parts += [*pictures.values(), *table, "<h2>How it was measured</h2>", *paragraphs(about)]
    title = "Balancing policies, measured and simulated"
    print(f"\nReport: {write_report(settings.out, title, parts, content, pictures)}")
    if settings.write:
        text = [f"```\n{render(results).strip()}\n```", *sentences, *about]
        write_block("compare", "\n\n".join(text))
        write_picture("compare", pictures["curves"])


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
        machine(),
    ]
