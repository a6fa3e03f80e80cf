"""A store on two hosts: the old master with a minority on one, and everybody else on the other.

The network between them can be cut; this process reaches both all the time.
"""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from deploy.native.store import MASTER
from lab.hosts.network import Host, Network
from lab.testbed.replicated import Sentinel, Watched, monitor
from lab.testbed.servers import RedisServer
from lab.testbed.workers import Worker

HOSTS = ("few", "many")


class HostServer(RedisServer):
    """A server on a host."""

    def __init__(self, host: Host, folder: Path, *options: str) -> None:
        super().__init__(folder, *options)
        _move(self, host)
        open_to_all = ("--bind", "*", "--protected-mode", "no")
        announced = ("--replica-announce-ip", host.address)
        self._command = [*host.command(*self._command), *open_to_all, *announced]


class HostSentinel(Sentinel):
    """A Sentinel on a host."""

    def __init__(self, host: Host, folder: Path, *lines: str) -> None:
        super().__init__(
            folder, "protected-mode no", f"sentinel announce-ip {host.address}", *lines
        )
        _move(self, host)
        self.file.write_text(self.file.read_text().replace("bind 127.0.0.1\n", "bind *\n"))
        self._command = host.command(*self._command)


class HostWorker(Worker):
    """A worker on a host."""

    def __init__(self, host: Host, folder: Path, redis_url: str, **settings: str) -> None:
        super().__init__(folder, redis_url, **settings)
        self.url = f"http://{host.address}:{self.port}"
        self.command = host.command(*self.command, "--host", "0.0.0.0")


class Divided(Watched):
    """A store over two hosts: the master and one Sentinel on the first, all others on the second."""

    def __init__(self, network: Network, folder: Path, down_after_ms: int, *options: str) -> None:
        self._network = network
        few, many = self.hosts = [network.hosts[name] for name in HOSTS]
        self.old = HostServer(few, folder / "0", *options)
        replicas = [
            HostServer(
                many, folder / str(n), *options, "--replicaof", f"{few.address} {self.old.port}"
            )
            for n in (1, 2)
        ]
        lines = monitor(few.address, self.old.port, down_after_ms)
        where = (few, many, many)
        sentinels = [HostSentinel(h, folder / f"s{n}", *lines) for n, h in enumerate(where)]
        super().__init__([self.old, *replicas], sentinels)
        places = ",".join(f"{h.address}:{s.port}" for h, s in zip(where, sentinels, strict=True))
        self.url = f"redis+sentinel://{places}/{MASTER}/0"

    def divide(self) -> None:
        """Nothing passes between the hosts any more, and nobody is told."""
        few, many = self.hosts
        self._network.partition([few], [many])

    def reunite(self) -> None:
        """Everything passes again."""
        self._network.heal()

    def promoted(self) -> bool:
        """Whether the majority has another master."""
        return self.sentinels[1].named != self.old.port


def _move(server: RedisServer, host: Host) -> None:
    server.admin = Redis(host=host.address, port=server.port, socket_timeout=5)
