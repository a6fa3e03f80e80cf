"""A master, its replicas and three Sentinels, as processes of their own: a store that may fail over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from redis import Redis
from redis.exceptions import RedisError

from deploy.native.store import MASTER
from deploy.refused import Refused
from lab.testbed.servers import RedisServer, wait_until

START_SECONDS = 20
NOT_ELECTED = "-failover-abort-not-elected"  # in a Sentinel's log


class Sentinel(RedisServer):
    """One Sentinel.  It keeps what it learns in its file, which it reads again when it is restarted."""

    def __init__(self, folder: Path, *lines: str, password: str = "") -> None:
        super().__init__(folder, password=password)
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "sentinel.conf"
        own = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f'dir "{folder}"',
            f'logfile "{self.log_path}"',
        )
        secret = [f"requirepass {password}"] if password else []
        self.file.write_text("\n".join([*own, *secret, *lines, ""]))
        self._command = [self._command[0], str(self.file), "--sentinel"]

    @property
    def vote_failed(self) -> bool:
        """Whether it once stood for election and was not elected.

        Two that stand at the same moment may each vote for itself; the next try comes after two times
        failover-timeout.
        """
        return NOT_ELECTED in self.log_path.read_text()

    @property
    def named(self) -> int:
        """The port of the server that it calls the master."""
        _, port = cast(tuple[bytes, int], self.admin.sentinel_get_master_addr_by_name(MASTER))
        return port


def said_of_master(sentinel: Redis) -> dict[str, Any]:
    """What a Sentinel says of the master; nothing when it does not answer."""
    try:
        return cast(dict[str, Any], sentinel.sentinel_master(MASTER))
    except RedisError:
        return {}


def place_of_master(sentinels: Iterable[Redis]) -> tuple[str, int]:
    """Which address and port the Sentinel with the newest configuration names; Refused when none answers."""
    told = [said for sentinel in sentinels if (said := said_of_master(sentinel))]
    if not told:
        raise Refused("no Sentinel answers")
    newest = max(told, key=lambda said: int(said["config-epoch"]))
    return newest["ip"], int(newest["port"])


def monitor(address: str, port: int, down_after_ms: int) -> list[str]:
    """What a Sentinel is told of the master that it watches."""
    return [
        f"sentinel monitor {MASTER} {address} {port} 2",
        f"sentinel down-after-milliseconds {MASTER} {down_after_ms}",
        f"sentinel failover-timeout {MASTER} 10000",
    ]


class Watched:
    """Servers, the first of which begins as the master, and the Sentinels that watch them."""

    def __init__(self, servers: Sequence[RedisServer], sentinels: Sequence[Sentinel]) -> None:
        self.servers, self.sentinels = servers, sentinels
        self._by_port = {server.port: server for server in servers}

    @property
    def master(self) -> RedisServer:
        """The server that the Sentinels name."""
        _, port = place_of_master(sentinel.admin for sentinel in self.sentinels)
        return self._by_port[port]

    def start(self) -> None:
        """Start all and wait until replicas have caught up and the Sentinels know each other.

        Sentinels last: at their first look they find the replicas, and later they look only now and then.
        """
        for server in self.servers:
            server.start()
        replicas = self.servers[1:]
        wait_until(
            lambda: all(map(self.servers[0].counts_on, replicas)),
            seconds=START_SECONDS,
            what="a master with its replicas",
        )
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until(
            self.whole, seconds=START_SECONDS, what="a master with its replicas and Sentinels"
        )

    def stop(self) -> None:
        for server in [*self.sentinels, *self.servers]:
            server.stop()

    def whole(self) -> bool:
        """Every replica follows, and every Sentinel sees all of them and the other Sentinels."""
        replicas = len(self.servers) - 1
        told = self.master.admin.info("replication")
        online = [told.get(f"slave{n}", {}).get("state") == "online" for n in range(replicas)]
        said = [said_of_master(sentinel.admin) for sentinel in self.sentinels]
        known = [(one.get("num-slaves"), one.get("num-other-sentinels")) for one in said]
        return all(online) and known == [(replicas, 2)] * 3


class Replicated(Watched):
    """All on this machine.  `url` names the Sentinels."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        replicas: int = 2,
        down_after_ms: int = 2000,
        password: str = "",
        sentinel_password: str = "",
    ) -> None:
        fast = ["--repl-ping-replica-period", "1", *options]
        fast += ["--masterauth", password] if password else []
        first = RedisServer(folder / "0", *fast, password=password)
        fast += ["--replicaof", f"127.0.0.1 {first.port}"]
        numbers = range(1, replicas + 1)
        others = [RedisServer(folder / str(n), *fast, password=password) for n in numbers]
        lines = [
            *monitor("127.0.0.1", first.port, down_after_ms),
            *([f"sentinel auth-pass {MASTER} {password}"] if password else []),
            *([f"sentinel sentinel-pass {sentinel_password}"] if sentinel_password else []),
        ]
        sentinels = [
            Sentinel(folder / f"sentinel-{n}", *lines, password=sentinel_password) for n in range(3)
        ]
        super().__init__([first, *others], sentinels)
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        login = f":{password}@" if password else ""
        more = f"?sentinel_password={sentinel_password}" if sentinel_password else ""
        self.url = f"redis+sentinel://{login}{hosts}/{MASTER}/0{more}"

    def watch_at(self, port: int) -> None:
        """Before the start: have the Sentinels reach the master, and send clients, through this port."""
        self._by_port[port] = self.servers[0]
        for sentinel in self.sentinels:
            text = sentinel.file.read_text()
            sentinel.file.write_text(
                text.replace(f"127.0.0.1 {self.servers[0].port} ", f"127.0.0.1 {port} ")
            )

    def fail_over(self) -> None:
        """Have Sentinel give another server the master's role, as for maintenance; returns at once."""
        self.sentinels[0].admin.sentinel_failover(MASTER)

    def wait_for_another(self, old: RedisServer, *, seconds: float = 15) -> RedisServer:
        """The master, once it is not `old`."""
        wait_until(lambda: self.master is not old, seconds=seconds, what="another master")
        return self.master
