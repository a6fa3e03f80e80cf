"""`python -m loadtest`: look at the stack, run Locust headless, check its history, give the verdict.

Locust runs in a process of its own, so that its exit code can be doubted: without the files of a
whole run there is no verdict but "bug in the load test". With a web page Locust gives the verdicts itself.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from random import SystemRandom

from loadtest.check.op import Op
from loadtest.check.smallest import store_smallest
from loadtest.load.cpu import cpu_seconds, since
from loadtest.load.preflight import NotReachable, look_round
from loadtest.plan import ATTACHED, STOP_SECONDS, VARIABLE, Plan, link_files, make_plan
from loadtest.progress import never_silent
from loadtest.settings import Settings, read_settings
from loadtest.verdict.analysis import Analysis, analyse
from loadtest.verdict.table import closing, render, store
from loadtest.verdict.verdict import Code, no_run

HERE = Path(__file__).parent
PORTS = range(12_000, 30_000)  # below those that Linux, macOS and BSD give to outgoing connections
MISSING = {
    "slow": "No GET /slow here: logout races go without slow writes.",
    "data": "No /api/data here: nothing is said about single fields.",
    "devices": "No /api/devices here: no session is ended from another one.",
}


def main(arguments: list[str]) -> int:
    """One run; returns its exit code."""
    settings = read_settings(arguments, os.environ)
    if settings.web_port:
        page = f"http://127.0.0.1:{settings.web_port}"
        print(f"Open {page} and press start; Ctrl-C here ends it.", flush=True)
        return _run_locust(settings, None)
    try:
        plan = make_plan(settings, look_round(settings))
    except NotReachable as error:
        print(closing(no_run(Code.NOT_REACHABLE, str(error))))
        return Code.NOT_REACHABLE
    print(_announcement(settings, plan), flush=True)
    before = cpu_seconds(settings.parts)
    code = _run_locust(settings, plan)
    return _judge(settings, Path(plan.folder), code, since(before, settings.parts))


def _judge(settings: Settings, folder: Path, locust_code: int, spent: Mapping[str, float]) -> int:
    """Weigh the finished run, and leave all that it says in its folder."""
    print("  judging the history …", flush=True)
    try:
        with never_silent("judging the history"):
            analysis, ops = analyse(folder, locust_code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"Locust ended with exit code {locust_code} and left no whole run: {error!r}"
        print(closing(no_run(Code.HARNESS, reason)))
        return Code.HARNESS
    with never_silent("drawing the report"):
        store(analysis, folder)
        store_smallest(folder / "smallest.jsonl", ops, analysis.lifetimes, analysis.report)
        where = _report(settings, folder, analysis, ops, spent) if settings.report else ""
    if where:
        print(f"  {where}\n")
    link_files(folder, settings.out)
    print(render(analysis))
    return analysis.verdict.code


def _report(
    settings: Settings, folder: Path, analysis: Analysis, ops: list[Op], spent: Mapping[str, float]
) -> str:
    """Draw the report; returns a line that says where it is."""
    from loadtest.report.facts import gather  # here, as matplotlib takes a second to load
    from loadtest.report.page import write_report

    try:
        facts = gather(analysis, ops, spent, settings.versions)
        write_report(facts, folder)
        return f"Report: {settings.out / 'report.html'}"
    except Exception as error:  # a verdict is worth more than its pictures
        return f"The report could not be drawn: {error!r}"


def _announcement(settings: Settings, plan: Plan) -> str:
    expected = f"expecting {settings.workers} workers" if settings.workers else "any workers"
    missing = "".join(f"\n  {MISSING[name]}" for name in plan.survey.missing)
    parts = f" in {settings.processes} processes" if settings.processes > 1 else ""
    lifetimes = plan.survey.lifetimes
    return (
        f"Load test of {settings.host}: {settings.users} users and {settings.rate:g} arrivals/s{parts}"
        f" for {settings.duration} s, seed {settings.seed}; {expected}, {settings.policy};"
        f" sessions end after {lifetimes.idle_seconds:g} s idle, {lifetimes.absolute_seconds:g} s in all."
        f"{missing}\n"
        f"  History: {plan.folder}/history.jsonl (check it again: python -m loadtest.check.offline FILE)"
    )


def _run_locust(settings: Settings, plan: Plan | None) -> int:
    """Run the generator to its end, or its web page; Ctrl-C ends it early, and what happened is judged.

    It is passed on as SIGTERM: SIGINT would break into a request that is being made.
    """
    flags = [] if settings.web_port else ["--headless", "--only-summary"]
    flags += ["--master"] if settings.listen else []
    argv = [str(part) for option in _options(settings, plan).items() for part in option]
    extra = {VARIABLE: plan.to_json()} if plan else {}
    child = subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), *flags, *argv],
        env={**os.environ, **_environment(settings), **extra, ATTACHED: "1"},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    stops = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(stop, lambda *_: child.terminate()) for stop in stops]
    try:
        return child.wait()
    finally:
        for stop, handler in zip(stops, before, strict=True):
            signal.signal(stop, handler)


def _options(settings: Settings, plan: Plan | None) -> dict[str, object]:
    """Locust's own; its master and workers are started here, or join from elsewhere."""
    options: dict[str, object] = {
        "--host": settings.host,
        "--users": settings.users,
        "--spawn-rate": max(10, settings.users),
        "--run-time": settings.duration,
        "--stop-timeout": STOP_SECONDS,
        "--loglevel": "WARNING",
    }
    if plan:  # the file also keeps Locust's own table off the screen
        options["--json-file"] = Path(plan.folder) / "locust"
    else:
        options |= {"--web-host": "127.0.0.1", "--web-port": settings.web_port}
    if settings.listen:
        address, _, port = settings.listen.rpartition(":")
        options |= {"--master-bind-host": address, "--master-bind-port": port}
        options["--expect-workers"] = settings.processes
    elif settings.processes > 1:
        own = free_port()  # not Locust's usual one: another run may have that
        options |= {"--processes": settings.processes, "--master-port": own}
        options |= {"--master-bind-host": "127.0.0.1", "--master-bind-port": own}
    return options


def _environment(settings: Settings) -> dict[str, str]:
    """The settings for Locust's own process, which reads them as a user of Locust would give them."""
    texts = {"workers": settings.workers or "", "weights": ",".join(map(str, settings.weights)),
             "web_port": 0, "report": int(settings.report), "go_on": int(settings.go_on),
             "parts": ""}  # fmt: skip
    return {name.upper(): str(value) for name, value in {**asdict(settings), **texts}.items()}


def free_port() -> int:
    """A port of this machine that nobody listens on, and that no outgoing connection takes meanwhile."""
    for port in SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise OSError(f"no port between {PORTS.start} and {PORTS.stop} is free")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
