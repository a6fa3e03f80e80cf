"""`python -m loadtest`: reach the stack, run Locust headless, check its history, give the verdict.

Locust runs in a process of its own, so that its exit code can be doubted: without the files of a
whole run there is no verdict but "bug in the load test".
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from loadtest.analysis import analyse
from loadtest.limits import load_limits
from loadtest.preflight import Features, NotReachable, survey
from loadtest.settings import Settings, read_settings
from loadtest.table import closing, render
from loadtest.verdict import Code, Verdict, judge, no_run, unreachable

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
    code = _run_locust(settings, features)
    try:
        analysis = analyse(settings, features, code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"Locust ended with exit code {code} and left no whole run: {error!r}"
        print(closing(no_run(reason)))
        return Code.HARNESS
    verdict = judge(analysis.counted, load_limits())
    _store(settings, verdict, asdict(analysis.counted))
    print(render(analysis, verdict))
    return verdict.code


def _announcement(settings: Settings, features: Features) -> str:
    expected = f"expecting {settings.workers} workers" if settings.workers else "any workers"
    missing = "".join(f"\n  {MISSING[name]}" for name in features.missing)
    return (
        f"Load test of {settings.host}: {settings.users} users and {settings.rate:g} arrivals/s for"
        f" {settings.duration} s, seed {settings.seed}; {expected}, {settings.policy}.{missing}\n"
        f"  History: {settings.history} (check it again: python -m loadtest.check_history FILE)"
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
        "--run-time": settings.duration,
        "--stop-timeout": STOP_SECONDS,
        "--loglevel": "WARNING",
        "--json-file": settings.out / "locust",  # also keeps Locust's own table off the screen
        "--rate": settings.rate,
        "--seed": settings.seed,
        "--idle-seconds": settings.session_idle_seconds,
        "--absolute-seconds": settings.session_absolute_seconds,
        "--without": ",".join(features.missing),
        "--out": settings.out,
    }
    flags = ["--headless", "--only-summary"]
    pairs = [str(part) for option in options.items() for part in option]
    locust = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py")]
    return [*locust, *flags, *pairs, *users]


def _store(settings: Settings, verdict: Verdict, counts: dict[str, object]) -> None:
    """Leave the verdict for machines beside the history."""
    content = {"code": verdict.code, "sentence": verdict.sentence, "reasons": verdict.reasons}
    text = json.dumps({**content, "counts": counts}, indent=1)
    (settings.out / "verdict.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
