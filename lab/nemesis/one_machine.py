"""Everything on this machine: a stack with replicas and Sentinels under one supervisor, and a second edge beside it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.native.scratch import Scratch, scratch_stack
from deploy.paths import ROOT
from deploy.redis_users import password
from deploy.supervisor.daemon import GONE, Supervisord
from lab.mutants.catalogue import Mutant
from lab.mutants.stack import other_ports, workers
from lab.nemesis.phases import ONE_MACHINE
from lab.nemesis.processes import answers, children, kill
from lab.nemesis.stage import Store, Undo, admin
from lab.operations.ours import OursNative
from lab.testbed.replicated import NOT_ELECTED
from lab.testbed.second_nginx import Change, second_nginx
from lab.testbed.servers import wait_until

UPSTREAM = ROOT / "nginx/upstream.conf"
REPLICAS = 2
STOP_SECONDS = 5.0


class OneMachine:
    """Edge 0 is the stack's own nginx, which its supervisor keeps running; edge 1 is another one before the same workers."""

    name = ONE_MACHINE
    hosts = None

    def __init__(self, stack: Scratch, edges: Sequence[str], second: int) -> None:
        """`second` is the process of the second edge's nginx."""
        self.edges = edges
        self._second = second
        self._logs = stack.state / "logs"
        self._ours = OursNative(stack)
        self._supervisord = self._ours.supervisord
        self.store = _store(stack, Programs(self._supervisord))

    def workers(self) -> Mapping[str, int]:
        return {
            n: pid for n, pid in sorted(self._supervisord.pids().items()) if n.startswith("worker")
        }

    def nginx(self, edge: int) -> Sequence[int]:
        master = self._second if edge else self._supervisord.pids()["nginx"]
        return [master, *children(master)]

    def restart(self) -> None:
        self._ours.restart_all()

    def reload(self) -> None:
        self._ours.reload()

    def scale(self) -> Undo:
        """The second edge is told nothing of the new worker, and does without it."""
        before = len(self.workers())
        self._ours.scale(before + 1)
        return lambda: self._ours.scale(before)

    def problems(self) -> list[str]:
        found = [
            f"{name} is {state}"
            for name, state in self._supervisord.states().items()
            if state != "RUNNING"
        ]
        found += [
            f"edge {edge} does not answer" for edge in self.edges if not answers(f"{edge}/healthz")
        ]
        ports = [name.rpartition("-")[2] for name in self.workers()]
        found += [
            f"worker {port} is not ready"
            for port in ports
            if not answers(f"http://127.0.0.1:{port}/readyz")
        ]
        return found + self.store.problems()

    def failed_votes(self) -> int:
        return sum(log.read_text().count(NOT_ELECTED) for log in self._logs.glob("sentinel-*.log"))


class Programs:
    """What supervisord keeps running; one that is kept down stays so."""

    def __init__(self, supervisord: Supervisord) -> None:
        self._supervisord = supervisord

    def pid(self, name: str) -> int | None:
        return self._supervisord.pids().get(name)

    def crash(self, name: str) -> None:
        kill([self._supervisord.pids()[name]])

    def keep_down(self, name: str) -> None:
        """Frozen first: supervisord has asked it to stop when it is killed, and takes that for its end."""
        pid = self._supervisord.pids()[name]
        os.kill(pid, signal.SIGSTOP)
        self._supervisord.begin_stop(name)
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: self._supervisord.states().get(name) in GONE,
            seconds=STOP_SECONDS,
            what=f"{name} is down",
        )

    def start(self, name: str) -> None:
        self._supervisord.start_program(name)


@contextmanager
def one_machine(
    acknowledged_by: int, folder: Path, mutant: Mutant | None = None
) -> Iterator[OneMachine]:
    """It runs while the block does.  `mutant`: broken workers, before which both edges stand instead."""
    settings = {"REPLICAS": str(REPLICAS), "SESSION_WRITES_ACKNOWLEDGED_BY": str(acknowledged_by)}
    with ExitStack() as parts:
        stack = parts.enter_context(scratch_stack(UPSTREAM, os.environ, **settings))
        change: dict[str, Change] = {}
        if mutant:
            ports = parts.enter_context(workers(stack, mutant, folder))
            change["upstream.conf"] = other_ports(stack, ports)
        fronts = [
            parts.enter_context(second_nginx(stack, folder / f"edge-{number}", change))
            for number in ((1, 2) if mutant else (2,))
        ]
        first = fronts[0].url if mutant else stack.url
        yield OneMachine(stack, (first, fronts[-1].url), fronts[-1].pid)


def _store(stack: Scratch, programs: Programs) -> Store:
    folder = stack.state / f"redis-with-{REPLICAS}-replicas"
    ports: list[int] = json.loads((folder / "ports.json").read_text())
    login = {"username": "admin", "password": password(stack.state, "admin")}
    servers = {
        f"redis-{n}": admin(port, **login) for n, port in enumerate(ports[: 1 + REPLICAS], 1)
    }
    secret = password(stack.state, "sentinel")
    sentinels = [admin(port, password=secret) for port in ports[1 + REPLICAS :]]
    return Store(servers, sentinels, programs)
