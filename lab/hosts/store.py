"""A host of the store: one Redis and one Sentinel, with the files of deploy/redis and what only this host can know."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from deploy.native import binaries
from deploy.native.store import MASTER
from deploy.paths import ROOT
from deploy.redis_users import password, write_users
from deploy.supervisor.daemon import end_with_parent
from lab.hosts.network import Host
from lab.testbed.servers import wait_until

FILES = ROOT / "deploy/redis"
REDIS_PORT, SENTINEL_PORT = 6379, 26379
START_SECONDS = 15.0


class Server:
    """One process on a store host, started and ended by hand: nobody else starts it again."""

    def __init__(self, host: Host, file: Path, admin: Redis, *words: str) -> None:
        self.admin = admin  # a client that may do everything
        self.log = file.with_suffix(".log")
        self._command = host.command(str(binaries.redis()), str(file), *words)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def begin(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
                # As under supervisord, a limit of its files is an error of a write and not its end.
                restore_signals=False,
            )

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.begin()
        wait_until(self.answers, seconds=START_SECONDS, what=" ".join(self._command))

    def kill(self) -> None:
        """At once, as a crash; it may have ended already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def answers(self) -> bool:
        try:
            return bool(self.admin.ping())
        except RedisError:
            return False


class StoreHost:
    """`hosts` are all store hosts; the first begins as the master.  `secrets` is a folder that all of them share."""

    def __init__(self, host: Host, hosts: Sequence[Host], folder: Path, secrets: Path) -> None:
        self.host = host
        self.name, self.address = host.name, host.address
        folder.mkdir(mode=0o700, parents=True)
        users = folder / "users.acl"
        write_users(users, "", secrets)
        redis = _written(folder / "redis.conf", _redis_lines(host, hosts, users, folder, secrets))
        sentinel = _written(folder / "sentinel.conf", _sentinel_lines(host, hosts, folder, secrets))
        self.redis = Server(
            host,
            redis,
            client(host, REDIS_PORT, username="admin", password=password(secrets, "admin")),
        )
        self.sentinel = Server(
            host,
            sentinel,
            client(host, SENTINEL_PORT, password=password(secrets, "sentinel")),
            "--sentinel",
        )

    def start(self) -> None:
        self.redis.start()
        self.sentinel.start()

    def stop(self) -> None:
        for server in (self.sentinel, self.redis):
            server.kill()


def store_url(hosts: Sequence[Host], secrets: Path) -> str:
    """REDIS_URL for the workers."""
    places = ",".join(f"{host.address}:{SENTINEL_PORT}" for host in hosts)
    login = f"sessions:{password(secrets, 'sessions')}"
    asked = f"sentinel_password={password(secrets, 'sentinel')}"
    return f"redis+sentinel://{login}@{places}/{MASTER}/0?{asked}"


def client(host: Host, port: int, **login: str) -> Redis:
    """For this process, which the store hosts are open to; it waits for a second at most."""
    return Redis(
        host=host.address,
        port=port,
        socket_timeout=1,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),  # the default tries a host that is cut off for a minute
        **login,  # type: ignore[arg-type]
    )


def _written(path: Path, lines: Sequence[str]) -> Path:
    path.touch(mode=0o600)
    path.write_text("\n".join([*lines, ""]))
    return path


def _redis_lines(
    host: Host, hosts: Sequence[Host], users: Path, folder: Path, secrets: Path
) -> list[str]:
    lines = [f'include "{FILES / name}"' for name in ("redis.conf", "replica.conf")]
    lines += [f"port {REDIS_PORT}", f"bind {host.address}", f'dir "{folder}"']
    # Every user that may log in has a password, so the mode for servers without one is not needed.
    lines += [f'aclfile "{users}"', f"masterauth {password(secrets, 'failover')}"]
    lines += ["protected-mode no", f"replica-announce-ip {host.address}"]
    return lines + ([] if host == hosts[0] else [f"replicaof {hosts[0].address} {REDIS_PORT}"])


def _sentinel_lines(host: Host, hosts: Sequence[Host], folder: Path, secrets: Path) -> list[str]:
    """With all others named: finding them would take ten seconds, in which nothing could fail over."""
    text = (FILES / "sentinel.conf").read_text()
    text = text.replace(" HOST PORT ", f" {hosts[0].address} {REDIS_PORT} ")
    text = text.replace(" PASSWORD\n", f" {password(secrets, 'failover')}\n")
    secret = password(secrets, "sentinel")
    lines = [f"port {SENTINEL_PORT}", f"bind {host.address}", f'dir "{folder}"']
    lines += ["protected-mode no", f"requirepass {secret}", f"sentinel sentinel-pass {secret}"]
    lines += [f"sentinel announce-ip {host.address}", text]
    lines += [f"sentinel known-replica {MASTER} {one.address} {REDIS_PORT}" for one in hosts[1:]]
    for one in hosts:
        name = hashlib.sha1(one.address.encode(), usedforsecurity=False).hexdigest()
        known = f"known-sentinel {MASTER} {one.address} {SENTINEL_PORT}"
        lines.append(f"sentinel {'myid' if one == host else known} {name}")
    return lines
