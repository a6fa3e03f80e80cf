"""The eight hosts of lab/hosts: two edges, three hosts of workers, and three of the store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from deploy.native.options import read_environ, read_options
from deploy.native.programs import supervisord_of
from deploy.refused import Refused
from lab.hosts.machine import Machine
from lab.hosts.store import Server, StoreHost
from lab.hosts.topology import PORTS, Hosts, several_hosts
from lab.nemesis.processes import answers
from lab.nemesis.stage import Store, Undo
from lab.testbed.replicated import NOT_ELECTED


class SeveralHosts:
    """Each host with workers, and each edge, has a supervisor of its own; Redis and Sentinels are kept by this process."""

    name = "eight hosts"

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.edges = hosts.urls
        redis = {store.name: store.redis.admin for store in hosts.stores}
        self.store = Store(redis, [s.sentinel.admin for s in hosts.stores], Servers(hosts.stores))

    def workers(self) -> Mapping[str, int]:
        return {
            f"{machine.name}:{name.rpartition('-')[2]}": pid
            for machine in self.hosts.workers
            for name, pid in sorted(machine.pids().items())
            if name.startswith("worker")
        }

    def nginx(self, edge: int) -> Sequence[int]:
        return self.hosts.edges[edge].nginx()

    def restart(self) -> None:
        for machine in self.hosts.workers:
            operate(machine, "rolling-restart")

    def reload(self) -> None:
        for machine in self.hosts.edges:
            operate(machine, "reload")

    def scale(self) -> Undo:
        """A line more on every host: first where the worker is to run, then on the edges; and back in the other order."""
        first = self.hosts.workers[0]
        places = [first, *self.hosts.edges]
        before = [machine.upstream_conf.read_text() for machine in places]
        for machine, text in zip(places, before, strict=True):
            machine.upstream_conf.write_text(_with_another(text, first.address))
            operate(machine, "reload")

        def undo() -> None:
            for machine, text in reversed([*zip(places, before, strict=True)]):
                machine.upstream_conf.write_text(text)
                operate(machine, "reload")

        return undo

    def problems(self) -> list[str]:
        found = [
            f"edge {url} does not answer" for url in self.edges if not answers(f"{url}/healthz")
        ]
        for machine in (*self.hosts.edges, *self.hosts.workers):
            states = supervisord_of(read_options(read_environ(machine.environ))).states()
            found += [
                f"{machine.name}: {name} is {s}" for name, s in states.items() if s != "RUNNING"
            ]
            found += [] if states else [f"{machine.name} has no supervisor"]
        for machine in self.hosts.workers:
            ports = [
                port for port in PORTS if not answers(f"http://{machine.address}:{port}/readyz")
            ]
            found += [f"{machine.name}:{port} is not ready" for port in ports]
        return found + self.store.problems()

    def failed_votes(self) -> int:
        logs = [store.sentinel.log for store in self.hosts.stores]
        return sum(log.read_text().count(NOT_ELECTED) for log in logs)


class Servers:
    """Redis on the hosts of the store."""

    def __init__(self, stores: Sequence[StoreHost]) -> None:
        self._redis: Mapping[str, Server] = {store.name: store.redis for store in stores}

    def pid(self, name: str) -> int | None:
        return self._redis[name].pid

    def crash(self, name: str) -> None:
        self._redis[name].kill()
        self._redis[name].begin()

    def keep_down(self, name: str) -> None:
        self._redis[name].kill()

    def start(self, name: str) -> None:
        self._redis[name].begin()


@contextmanager
def on_hosts(acknowledged_by: int) -> Iterator[SeveralHosts]:
    """They run while the block does; Refused says why they cannot be made here."""
    with several_hosts(SESSION_WRITES_ACKNOWLEDGED_BY=str(acknowledged_by)) as hosts:
        yield SeveralHosts(hosts)


def operate(machine: Machine, *words: str) -> None:
    """A command on that host.  Refused when it fails."""
    code, said = machine.operate(*words)
    if code:
        raise Refused(f"{machine.name}: {' '.join(words)}: {said}")


def _with_another(text: str, address: str) -> str:
    """The upstream with one line more like the last one of this host, with the next port."""
    lines = text.splitlines(keepends=True)
    own = [n for n, line in enumerate(lines) if re.match(rf"\s*server {re.escape(address)}:", line)]
    port = re.escape(f":{PORTS[-1]}")
    new = re.sub(port, f":{PORTS[-1] + 1}", lines[own[-1]])
    return "".join([*lines[: own[-1] + 1], new, *lines[own[-1] + 1 :]])
