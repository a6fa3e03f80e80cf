"""The load beside the faults: the load test's own visitors, in a Locust process whose history is judged afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.supervisor.daemon import end_with_parent
from lab.nemesis.rest import Rest
from loadtest.check.op import Lifetimes
from loadtest.load.preflight import NotReachable, survey
from loadtest.plan import ATTACHED, VARIABLE, Plan
from loadtest.settings import read_settings

USERS, RATE = 6, 40  # closed users; uses of the witnesses in a second
MOST_SECONDS = 7200  # it is ended long before
LOOK_SECONDS = 30.0
END_SECONDS = 90.0
SLACK_SECONDS = 2.0  # of a timeout: how long after it was looked up an answer may come
LONGEST = Lifetimes(1800, 43_200)


@dataclass(frozen=True)
class Load:
    """What runs."""

    rest: Rest
    process: subprocess.Popen[bytes]
    log: Path

    def look(self) -> None:
        """Have all visitors rest, and the witnesses looked at.  Refused: they do not come to rest."""
        self.rest.ask()
        try:
            if not self.rest.wait_looked(LOOK_SECONDS):
                raise Refused(f"the visitors do not come to rest: {self.log}")
        finally:
            self.rest.end()

    def alive(self) -> bool:
        return self.process.poll() is None


@contextmanager
def load(edges: Sequence[str], seed: int, folder: Path, client: str = "") -> Iterator[Load]:
    """Runs while the block does; afterwards `folder` has the history and the generator's summary.

    `client`: which broken one to use instead of the right one.  Refused: there is nothing to load.
    """
    settings = read_settings(
        ["--host", edges[0], "--seed", str(seed), "--users", str(USERS), "--rate", str(RATE)], {}
    )
    settings = replace(settings, go_on=True, out=folder, policy="round_robin")
    try:
        found = survey(edges[0], settings.demo_password, LONGEST)
    except NotReachable as error:
        raise Refused(str(error)) from None
    found = replace(found, lifetimes=replace(found.lifetimes, slack_seconds=SLACK_SECONDS))
    plan = Plan(settings.shown(), settings.demo_password, found, str(folder), f"load{seed}")
    log = folder / "visitors.log"
    given = {VARIABLE: plan.to_json(), ATTACHED: "1", "EDGES": " ".join(edges), "REST": str(folder)}
    given |= {"DURATION": str(MOST_SECONDS), "SEED": str(seed), "GO_ON": "1", "OUT": str(folder)}
    given |= {"CLIENT": client, "HOST": edges[0]}
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "lab/nemesis/locustfile.py")]
    command += ["--headless", "--only-summary", "--users", str(USERS), "--spawn-rate", str(USERS)]
    command += ["--host", edges[0], "--stop-timeout", "30", "--loglevel", "WARNING"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=kept | given,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        running = Load(Rest(folder), process, log)
        running.look()  # everybody is logged in by then
        yield running
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        finally:
            process.kill()
            process.wait()
    if not (folder / "summary.json").exists():
        raise Refused(f"the generator left no whole run: {log}")


def now() -> int:
    """The clock of the history."""
    return time.monotonic_ns()
