"""`python -m loadtest`: reach the stack, run Locust headless, check its history, give the verdict.

Locust runs in a process of its own, so that its exit code can be doubted: without the files of a
whole run there is no verdict but "bug in the load test".
"""

import json
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from loadtest.check.history import read_ops
from loadtest.load.cpu import cpu_seconds, since
from loadtest.load.preflight import NotReachable, survey
from loadtest.settings import Settings, read_settings
from loadtest.verdict.analysis import Analysis, analyse
from loadtest.verdict.counted import Features
from loadtest.verdict.limits import load_limits
from loadtest.verdict.table import closing, render
from loadtest.verdict.verdict import Code, Verdict, judge, no_run, not_started, unreachable

HERE = Path(__file__).parent
MISSING = {
    "slow": "No GET /slow here: logout races go without slow writes.",
    "data": "No /api/data here: nothing is said about single fields.",
    "devices": "No /api/devices here: no session is ended from another one.",
}
STOP_SECONDS = 30  # how long users may take to finish the session they are in


def main(arguments: list[str]) -> int:
    """One run; returns its exit code."""
    settings = read_settings(arguments, os.environ)
    try:
        features = survey(settings.host, settings.demo_password)
    except NotReachable as error:
        print(closing(unreachable(str(error))))
        return Code.NOT_REACHABLE
    print(_announcement(settings, features), flush=True)
    for stale in (settings.history, settings.summary):
        stale.unlink(missing_ok=True)
    spent = cpu_seconds(settings.parts)
    code = _run_locust(settings, features)
    spent = since(spent, settings.parts)
    try:
        analysis = analyse(settings, features, code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if settings.web_port and not settings.summary.exists():
            print(closing(not_started()))
            return Code.PROVES_NOTHING
        reason = f"Locust ended with exit code {code} and left no whole run: {error!r}"
        print(closing(no_run(reason)))
        return Code.HARNESS
    verdict = judge(analysis.counted, load_limits())
    _store(settings, verdict, asdict(analysis.counted))
    if settings.report:
        print(f"  {_report(settings, analysis, verdict, spent)}\n")
    print(render(analysis, verdict))
    return verdict.code


def _report(
    settings: Settings, analysis: Analysis, verdict: Verdict, spent: Mapping[str, float]
) -> str:
    """Draw the report; returns a line that says where it is."""
    from loadtest.report.facts import gather  # here, as matplotlib takes a second to load
    from loadtest.report.page import write_report

    ops = read_ops(settings.history)
    try:
        facts = gather(settings, analysis, verdict, load_limits(), ops, spent)
        return f"Report: {write_report(facts, settings.out)}"
    except Exception as error:  # a verdict is worth more than its pictures
        return f"The report could not be drawn: {error!r}"


def _announcement(settings: Settings, features: Features) -> str:
    expected = f"expecting {settings.workers} workers" if settings.workers else "any workers"
    missing = "".join(f"\n  {MISSING[name]}" for name in features.missing)
    page = f"\n  Open http://127.0.0.1:{settings.web_port} and press start; Ctrl-C here ends with a verdict."
    parts = f" in {settings.processes} processes" if settings.processes > 1 else ""
    return (
        f"Load test of {settings.host}: {settings.users} users and {settings.rate:g} arrivals/s{parts}"
        f"{'' if settings.web_port else f' for {settings.duration} s'}, seed {settings.seed}; {expected}, {settings.policy}.{missing}\n"
        f"  History: {settings.history} (check it again: python -m loadtest.check.offline FILE)"
        f"{page if settings.web_port else ''}"
    )


def _run_locust(settings: Settings, features: Features) -> int:
    """Run the generator to its end; Ctrl-C ends it early, and what happened is judged.

    It is passed on as SIGTERM: SIGINT would break into a request that is being made.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    child = subprocess.Popen(
        _command(settings, features),
        env={**os.environ, "PYTHONPATH": path, "DEMO_PASSWORD": settings.demo_password},
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


def _command(settings: Settings, features: Features) -> list[str]:
    users = ["Closed", "Arrivals"] if settings.rate else ["Closed"]
    options = {
        "--host": settings.host,
        "--users": settings.users + len(users) - 1,
        "--spawn-rate": max(10, settings.users),
        "--stop-timeout": STOP_SECONDS,
        "--loglevel": "WARNING",
        "--json-file": settings.out / "locust",  # also keeps Locust's own table off the screen
        "--rate": settings.rate,
        "--seed": settings.seed,
        "--idle-seconds": settings.session_idle_seconds,
        "--absolute-seconds": settings.session_absolute_seconds,
        "--without": ",".join(features.missing),
        "--out": settings.out,
        **_how_it_runs(settings),
        **_processes(settings),
    }
    flags = ["--only-summary", "--attached"]
    flags += [] if settings.web_port else ["--headless", "--once"]
    flags += ["--master"] if settings.listen else []
    pairs = [str(part) for option in options.items() for part in option]
    locust = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py")]
    return [*locust, *flags, *pairs, *users]


def _how_it_runs(settings: Settings) -> dict[str, object]:
    """At once and for so long, or when somebody presses start on Locust's web page."""
    if not settings.web_port:
        return {"--seconds": settings.duration}
    return {"--web-host": "127.0.0.1", "--web-port": settings.web_port}


def _processes(settings: Settings) -> dict[str, object]:
    """Locust's master and workers: started here, or those that join from elsewhere."""
    if settings.listen:
        address, _, port = settings.listen.rpartition(":")
        expected = {"--expect-workers": settings.processes}
        return {"--master-bind-host": address, "--master-bind-port": port, **expected}
    if settings.processes == 1:
        return {}
    with socket.socket() as probe:  # not Locust's usual port: another run may have that one
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "--processes": settings.processes,
        "--master-bind-host": "127.0.0.1",
        "--master-bind-port": port,
        "--master-port": port,
    }


def _store(settings: Settings, verdict: Verdict, counts: dict[str, object]) -> None:
    """Leave the verdict for machines beside the history."""
    content = {
        "code": verdict.code,
        "sentence": verdict.sentence,
        "reasons": verdict.reasons,
        "counts": counts,
        "settings": _shown(settings),
        "versions": {"python": platform.python_version(), "locust": version("locust")},
    }
    text = json.dumps(content, indent=1)
    (settings.out / "verdict.json").write_text(text + "\n", encoding="utf-8")


def _shown(settings: Settings) -> dict[str, object]:
    """All settings but the password."""
    shown = {**asdict(settings), "out": str(settings.out)}
    del shown["demo_password"]
    return shown


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
