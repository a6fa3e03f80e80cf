"""Two hosts on this machine, as network namespaces: the old master with a minority, and everybody else.

Each has a wire of its own to this process, and one between them, which can be cut.  For root, on Linux.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from lab.testbed.replicated import NAME, Sentinel, monitor
from lab.testbed.servers import RedisServer, wait_until
from lab.testbed.workers import Worker

BETWEEN = "between"  # the interface of the wire between the hosts


@dataclass(frozen=True)
class Host:
    """`address` is the one for the other host, `near` the one for this process."""

    name: str
    address: str
    near: str

    def run(self, *command: str) -> list[str]:
        """The command line that runs there."""
        return ["ip", "netns", "exec", self.name, *command]


def can_be_made() -> bool:
    """Whether this process may make network namespaces, and has the programs."""
    return os.geteuid() == 0 and all(map(shutil.which, ("ip", "iptables")))


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """They are there while the block runs."""
    number = os.getpid() % 200 + 20
    hosts = [
        Host(f"fo{os.getpid()}-{side}", f"10.{number}.0.{side}", f"10.{number}.{side}.2")
        for side in (1, 2)
    ]
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
        one, other = hosts
        wire = ("link", "add", BETWEEN, "netns", one.name, "type", "veth")
        _ip(*wire, "peer", "name", BETWEEN, "netns", other.name)
        for host in hosts:
            here = host.name[-12:]
            _ip("link", "add", here, "type", "veth", "peer", "name", "near", "netns", host.name)
            _ip("addr", "add", f"{host.near.rpartition('.')[0]}.1/24", "dev", here)
            _ip("link", "set", here, "up")
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", BETWEEN)
            _ip("-n", host.name, "addr", "add", f"{host.near}/24", "dev", "near")
            for device in ("lo", "near", BETWEEN):
                _ip("-n", host.name, "link", "set", device, "up")
        yield one, other
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True)


def cut(hosts: Sequence[Host], *, mend: bool = False) -> None:
    """Nothing passes between them any more, and nobody is told."""
    for host in hosts:
        change = "--delete" if mend else "--append"
        rule = host.run("iptables", change, "INPUT", "-i", BETWEEN, "-j", "DROP")
        subprocess.run(rule, check=True)


class HostServer(RedisServer):
    """A server on a host."""

    def __init__(self, host: Host, folder: Path, *options: str) -> None:
        super().__init__(folder, *options)
        _move(self, host)
        open_to_all = ("--bind", "*", "--protected-mode", "no")
        announced = ("--replica-announce-ip", host.address)
        self._command = [*host.run(*self._command), *open_to_all, *announced]


class HostSentinel(Sentinel):
    """A Sentinel on a host."""

    def __init__(self, host: Host, folder: Path, *lines: str) -> None:
        super().__init__(
            folder, "protected-mode no", f"sentinel announce-ip {host.address}", *lines
        )
        _move(self, host)
        self.file.write_text(self.file.read_text().replace("bind 127.0.0.1\n", "bind *\n"))
        self._command = host.run(*self._command)


class HostWorker(Worker):
    """A worker on a host."""

    def __init__(self, host: Host, folder: Path, redis_url: str, **settings: str) -> None:
        super().__init__(folder, redis_url, **settings)
        self.url = f"http://{host.near}:{self.port}"
        self.command = host.run(*self.command, "--host", "0.0.0.0")


class Divided:
    """A store over two hosts: the master and one Sentinel on the first, all others on the second."""

    def __init__(
        self, hosts: tuple[Host, Host], folder: Path, down_after_ms: int, *options: str
    ) -> None:
        few, many = self.hosts = hosts
        self.old = HostServer(few, folder / "0", *options)
        self.replicas = [
            HostServer(
                many, folder / str(n), *options, "--replicaof", f"{few.address} {self.old.port}"
            )
            for n in (1, 2)
        ]
        lines = monitor(few.address, self.old.port, down_after_ms)
        where = (few, many, many)
        self.sentinels = [HostSentinel(h, folder / f"s{n}", *lines) for n, h in enumerate(where)]
        places = ",".join(
            f"{h.address}:{s.port}" for h, s in zip(where, self.sentinels, strict=True)
        )
        self.url = f"redis+sentinel://{places}/{NAME}/0"

    def start(self) -> None:
        """Sentinels last: at their first look they find the replicas, and later they look only now and then."""
        for server in [self.old, *self.replicas]:
            server.start()
        wait_until(
            lambda: all(map(self.old.counts_on, self.replicas)), seconds=20, what="two replicas"
        )
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until(self.whole, seconds=20, what="Sentinels that know each other")

    def stop(self) -> None:
        for server in [*self.sentinels, *self.replicas, self.old]:
            server.stop()

    def whole(self) -> bool:
        """All Sentinels know both replicas and each other."""
        facts = [sentinel.facts() for sentinel in self.sentinels]
        known = [(one["num-slaves"], one["num-other-sentinels"]) for one in facts]
        return known == [(2, 2)] * 3

    def promoted(self) -> bool:
        """Whether the majority has another master."""
        return self.sentinels[1].named != self.old.port


def _move(server: RedisServer, host: Host) -> None:
    server.admin = Redis(host=host.near, port=server.port, socket_timeout=5)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
