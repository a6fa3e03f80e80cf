"""`python -m lab.streams`: open event streams step by step, disturb them, report.

Exit codes are the load test's: 0 reported, whatever goals were met; 10 a session was wrong; 14 no
stack with event streams; 2 wrong setting or a bug; 130 after Ctrl-C, with a report of what was done.
"""

import asyncio
import json
import os
import platform
import signal
import sys

from lab.policies.crowd import Crowd
from lab.refusals import exit_code_of
from lab.streams import plots
from lab.streams.course import run_course
from lab.streams.page import page
from lab.streams.results import Found, as_json
from lab.streams.settings import Settings, read_settings
from lab.streams.table import render
from loadtest.check.history import HistoryWriter
from loadtest.check.online import Checker
from loadtest.check.op import Lifetimes
from loadtest.load.preflight import NotReachable, survey
from loadtest.load.recorder import Recorder
from loadtest.verdict.verdict import Code

INTERRUPTED = 130


def main() -> int:
    """One run; returns its exit code."""
    return exit_code_of(_run)


def _run() -> int:
    settings = read_settings(os.environ)
    survey(settings.host, settings.password)
    lifetimes = Lifetimes()
    recorder = Recorder(
        Checker(lifetimes), HistoryWriter(settings.out / "history.jsonl", lifetimes)
    )
    print(_announcement(settings), flush=True)
    found: list[Found] = []
    failed = ""
    try:
        asyncio.run(_until_told(settings, recorder, found))
    except (RuntimeError, OSError) as error:
        failed = f"the run broke off: {error}"
    recorder.close()
    if not found:
        raise NotReachable(failed or "nothing was measured")
    result = found[0]
    result.violations = recorder.checker.finish().violations
    _store(settings, result)
    print(f"\n{render(result)}\n\nReport: {settings.out / 'report.html'}")
    if failed:
        print(f"error: {failed}", file=sys.stderr)
    return _code(result, failed)


def _code(found: Found, failed: str) -> int:
    if found.violations or any(fault.sessions_lost for fault in found.faults):
        return Code.CONSISTENCY
    if found.interrupted:
        return INTERRUPTED
    return Code.HARNESS if failed or not found.steps else Code.HOLDS


async def _until_told(settings: Settings, recorder: Recorder, found: list[Found]) -> None:
    crowd = Crowd(recorder, settings.password)
    task = asyncio.ensure_future(run_course(settings, crowd, found.append))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task


def _announcement(settings: Settings) -> str:
    steps = ", ".join(f"{step:,}" for step in settings.steps)
    beyond = "" if settings.stack_command else " No faults and no memory: the stack is not ours."
    return (
        f"Event streams to {settings.host} in steps of {steps};"
        f" {len(settings.sources)} generator processes.{beyond} Ctrl-C ends it with a report."
    )


def _about(settings: Settings) -> list[str]:
    return [
        f"{len(settings.sources)} generator processes share the machine with the stack:"
        f" {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}, {platform.system()},"
        f" Python {platform.python_version()}.",
        "Memory is what processes have for themselves in user space (RssAnon), without the kernel's"
        " socket buffers, less what they had before the first stream. Latency counts from the moment a"
        " request was due; p99 is the median of those of single seconds. A stream that is lost comes"
        " back after the pause the server asked for, which grows with their number.",
    ]


def _store(settings: Settings, found: Found) -> None:
    """Leave report.html, report.json and the picture in the run's folder."""
    out = settings.out
    content = as_json(found) | {"about": _about(settings)}
    (out / "report.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (out / "report.html").write_text(page(found, _about(settings)), encoding="utf-8")
    (out / "longconn.png").unlink(missing_ok=True)
    if found.steps:
        plots.draw(found).savefig(out / "longconn.png", dpi=110)


if __name__ == "__main__":
    sys.exit(main())
