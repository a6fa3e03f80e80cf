"""One run of the load test against one stack of the catalogue, and whether it ended as it must."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.native.scratch import Scratch
from deploy.refused import Refused
from lab.mutants.catalogue import Mutant
from lab.mutants.freeze import FREEZING_SECONDS, stuttering_redis
from lab.mutants.stack import other_ports, workers
from lab.testbed.loadtest import Run
from lab.testbed.loadtest import load as run_load
from lab.testbed.second_nginx import replaced, second_nginx
from loadtest.check.history import lifetimes_of, read_header, read_ops
from loadtest.check.online import Checker, replay
from loadtest.check.op import Invariant
from loadtest.check.tally import Witness
from loadtest.verdict.verdict import Code

MORE_SECONDS = 3  # on a busy machine, for as many requests as a pass must rest on
REQUESTS_BEFORE_FREEZING = 200  # by then every user has a session


@dataclass(frozen=True)
class Load:
    """How hard, how long and with which seed a mutant is tried."""

    seconds: int
    users: int
    rate: int
    seed: int
    report: bool = False

    def options(self, mutant: Mutant) -> list[str]:
        """For the command line of the load test.

        A frozen Redis costs time in which little happens, and to pass takes more than to fail.
        """
        seconds = self.seconds + (FREEZING_SECONDS if mutant.redis_freezes else 0)
        seconds += mutant.seconds if mutant.broken else MORE_SECONDS
        named = {"duration": seconds, "users": self.users, "rate": self.rate, "seed": self.seed,
                 "report": int(self.report), "go-on": int(bool(mutant.also)),
                 "session-touch-seconds": mutant.settings.get("SESSION_TOUCH_SECONDS", "60")}  # fmt: skip
        return [str(part) for name, value in named.items() for part in (f"--{name}", value)]


@dataclass(frozen=True)
class Caught:
    """When a broken promise was first noticed: requests answered by then, seconds since the first."""

    requests: int
    seconds: float


@dataclass(frozen=True)
class Trial:
    """A finished run; `complaint` says what is not as it must be."""

    mutant: Mutant
    run: Run
    caught: Caught | None
    complaint: str | None


def try_mutant(mutant: Mutant, stack: Scratch, folder: Path, load: Load) -> Trial:
    """Build the mutant beside `stack` with its files in `folder`, run the load test against it, judge."""
    folder.mkdir(parents=True)
    out = folder / "loadtest"
    workers_option = ("--workers", str(len(stack.worker_ports)))
    try:
        with _built(mutant, stack, folder) as host:
            run = run_load(host, out, *load.options(mutant), *workers_option)
    except Refused as error:  # it did not come up: the others are tried all the same
        run = Run(Code.NOT_REACHABLE, str(error), {})
    caught = None
    if mutant.named and (out / "history.jsonl").exists():
        caught = first_caught(out / "history.jsonl", mutant.named)
    return Trial(mutant, run, caught, complaint(mutant, run))


def complaint(mutant: Mutant, run: Run) -> str | None:
    """What a run against this mutant should have found and did not, or found and should not have."""
    if mutant.broken and run.code == 0:
        return "unnoticed"
    if run.code != mutant.code:
        return f"exit code {run.code}, not {mutant.code}\n{run.printed}"
    for name in mutant.names:
        if name not in run.broken:
            return f"caught by {', '.join(sorted(run.broken))}, not by {name}"
    if not mutant.broken and run.broken:
        return f"nothing is wrong, yet it found: {', '.join(sorted(run.broken))}"
    if mutant.reason not in run.reasons:
        return f"its reason is not {mutant.reason!r}, but {run.reasons}"
    return None


def first_caught(history: Path, invariant: Invariant) -> Caught | None:
    """Replay a stored history until the online checker finds `invariant` broken."""
    found: list[Witness] = []

    def note(name: Invariant, witness: Witness) -> None:
        if name is invariant:
            found.append(witness)

    ops = list(read_ops(history))
    checker = Checker(lifetimes_of(read_header(history)), note)
    first = min((op.invoked for op in ops), default=0)
    for answered, op in enumerate(replay(ops, checker), start=1):
        if found:
            return Caught(answered, (op.returned - first) / 1e9)
    return None


@contextmanager
def _built(mutant: Mutant, stack: Scratch, folder: Path) -> Iterator[str]:
    """The address of the mutant while it runs."""
    with ExitStack() as parts:
        change = replaced(*mutant.upstream, count=1)
        if mutant.workers:
            ports = parts.enter_context(workers(stack, mutant, folder))
            change = other_ports(stack, ports)
        front = parts.enter_context(second_nginx(stack, folder, {"upstream.conf": change}))
        if mutant.redis_freezes:
            log = folder / "access.log"

            def begun() -> bool:
                return log.read_bytes().count(b"\n") >= REQUESTS_BEFORE_FREEZING

            parts.enter_context(stuttering_redis(stack, begun))
        yield front.url
