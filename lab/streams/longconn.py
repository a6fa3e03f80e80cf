"""`python -m lab streams`: open event streams step by step, cause faults, report.

Exit codes are the load test's: 0 reported, whatever goals were met; 10 a session was wrong; 14 no
stack with event streams; 2 wrong setting or a bug; 130 after Ctrl-C, with a report of what was done.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace

from deploy.operations.find import find_stack
from deploy.operations.native import NativeStack
from deploy.operations.with_stack import native_site
from lab.experiment import INTERRUPTED, run_until_told
from lab.measurements import write_block
from lab.report import Part, machine, paragraphs, preformatted, write_picture, write_report
from lab.streams import plots
from lab.streams.measure import measure
from lab.streams.results import Found, as_json
from lab.streams.settings import Settings, read_settings
from lab.streams.table import goals_table, render
from loadtest.check.history import HistoryWriter
from loadtest.check.online import Checker
from loadtest.check.op import Lifetimes
from loadtest.load.preflight import NotReachable, survey
from loadtest.load.recorder import Recorder
from loadtest.verdict.verdict import Code

FAULTS = shlex.join([sys.executable, "-m", "lab.streams.faults"])


def hold_streams(environ: Mapping[str, str]) -> int:
    """One run; returns its exit code.

    Without HOST the stack is the running one of this folder, or one started for this.  Faults are caused in
    a native stack; in one in Docker, or at a HOST, only where STACK_COMMAND says how.
    """
    settings = read_settings(environ)
    if environ.get("HOST"):
        return _run(settings)
    stack = find_stack(environ)
    if stack is not None and not isinstance(stack, NativeStack):
        print(f"using {stack.name}", flush=True)
        return _run(replace(settings, host=stack.url))
    with native_site(environ) as site:
        command = shlex.join(["env", *(f"{k}={v}" for k, v in site.settings.items())])
        return _run(replace(settings, host=site.url, stack_command=f"{command} {FAULTS}"))


def _run(settings: Settings) -> int:
    survey(settings.host, settings.password)
    lifetimes = Lifetimes()
    history = HistoryWriter(settings.out / "history.jsonl", lifetimes)
    recorder = Recorder(Checker(lifetimes), history)
    print(_announcement(settings), flush=True)
    found, failed = Found(wanted=settings.most), ""
    try:
        run_until_told(measure(settings, recorder, found))
    except (RuntimeError, OSError) as error:
        failed = f"the run broke off: {error}"
    recorder.close()
    if failed and not found.zero:
        raise NotReachable(failed)
    found.violations = recorder.checker.finish().violations
    print(f"\n{render(found)}")
    _report(settings, found)
    if failed:
        print(f"error: {failed}", file=sys.stderr)
    return _code(found, failed)


def _code(found: Found, failed: str) -> int:
    if found.violations or any(fault.sessions_lost for fault in found.faults):
        return Code.CONSISTENCY
    if found.interrupted:
        return INTERRUPTED
    return Code.HARNESS if failed or not found.steps else Code.HOLDS


def _announcement(settings: Settings) -> str:
    steps = ", ".join(f"{step:,}" for step in settings.steps)
    beyond = "" if settings.stack_command else " No faults and no memory: the stack is not ours."
    return (
        f"Event streams to {settings.host} in steps of {steps};"
        f" {len(settings.sources)} generator processes.{beyond} Ctrl-C ends it with a report."
    )


def _report(settings: Settings, found: Found) -> None:
    """Leave the report in the run's folder; with WRITE=1 also in docs/."""
    about = [
        "Memory is what processes have for themselves in user space (RssAnon), without the kernel's"
        " socket buffers, less what they had before the first stream. Latency counts from the moment a"
        " request was due; p99 is the median of those of single seconds. A stream that is lost comes"
        " back after the pause the server asked for, which grows with their number.",
        f"{len(settings.sources)} generator processes run beside the stack: {machine()}",
    ]
    pictures = {"longconn": plots.draw(found)} if found.steps else {}
    interrupted = ["Interrupted: this is what was done before."] * found.interrupted
    parts: list[Part] = [*paragraphs(interrupted, bad=True), preformatted(render(found))]
    parts += [*pictures.values(), *paragraphs(about)]
    page = write_report(
        settings.out, "Long connections", parts, as_json(found) | {"about": about}, pictures
    )
    print(f"\nReport: {page}")
    if settings.write and pictures:
        steps = f"```\n{render(found, with_goals=False)}\n```"
        write_block("longconn", "\n\n".join([steps, goals_table(found), *about]))
        write_picture("longconn", pictures["longconn"])
