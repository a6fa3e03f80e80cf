"""What faults happen to: a stack with several edges, its workers and its store, whoever is the master at the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis import Redis
from redis.exceptions import RedisError

from deploy.native.store import MASTER
from deploy.refused import Refused
from lab.hosts.topology import Hosts
from lab.testbed.replicated import place_of_master, said_of_master

CLIENT_SECONDS = 1.0
Undo = Callable[[], None]


class Stage(Protocol):
    """One machine, or several hosts: then `hosts` are these."""

    @property
    def name(self) -> str:
        """For the report."""

    @property
    def edges(self) -> Sequence[str]:
        """The address of each."""

    @property
    def store(self) -> Store: ...

    @property
    def hosts(self) -> Hosts | None: ...

    def workers(self) -> Mapping[str, int]:
        """The process of each worker that runs, by its name."""

    def nginx(self, edge: int) -> Sequence[int]:
        """The processes of an edge's nginx, the master first."""

    def restart(self) -> None:
        """`make rolling-restart`, on each host with workers.  Refused when it fails, like all that follow."""

    def reload(self) -> None:
        """`make reload`, on each edge that has a supervisor."""

    def scale(self) -> Undo:
        """One worker more; how it goes again."""

    def problems(self) -> list[str]:
        """What keeps it from being whole: empty when all that belongs to it runs and is ready."""

    def failed_votes(self) -> int:
        """How often so far a Sentinel has stood for election and was not elected."""


class Processes(Protocol):
    """Who keeps the processes of the store running."""

    def pid(self, name: str) -> int | None:
        """The process of that name, if it runs."""

    def crash(self, name: str) -> None:
        """Kill it at once; it is started again, as by its supervisor."""

    def keep_down(self, name: str) -> None:
        """Kill it at once, as a host that has lost its power, and do not start it again."""

    def start(self, name: str) -> None:
        """Start what was kept down."""


@dataclass(frozen=True)
class Store:
    """`servers` are all, by name; each may be the master."""

    servers: Mapping[str, Redis]
    sentinels: Sequence[Redis]
    processes: Processes

    def master(self) -> str:
        """The server that the Sentinels name; Refused when none answers."""
        return self._by_place[place_of_master(self.sentinels)]

    def fail_over(self) -> None:
        """Have the Sentinels give another server the master's role, as for maintenance; returns at once."""
        self.sentinels[0].sentinel_failover(MASTER)

    def problems(self) -> list[str]:
        """What keeps it from standing the next failure."""
        try:
            return self._problems()
        except (RedisError, Refused) as error:
            return [f"the store: {error}"]

    def _problems(self) -> list[str]:
        master = self.master()
        others = len(self.servers) - 1
        told = [said_of_master(sentinel) for sentinel in self.sentinels]
        about = self.servers[master].info("replication")
        online = [about.get(f"slave{n}", {}).get("state") for n in range(others)].count("online")
        named = {self._by_place.get((facts["ip"], int(facts["port"]))) for facts in told if facts}
        wrong: list[tuple[bool, str]] = [
            (about["role"] != "master", f"{master} is no master"),
            (online < others, f"{others - online} replicas do not follow {master}"),
            (not all(told), "a Sentinel does not answer"),
            (named != {master}, f"Sentinels name {named}"),
            (any(facts and facts["flags"] != "master" for facts in told), "the master is doubted"),
        ]
        return [text for is_wrong, text in wrong if is_wrong]

    @property
    def _by_place(self) -> dict[tuple[str, int], str]:
        places = (
            (name, server.connection_pool.connection_kwargs)
            for name, server in self.servers.items()
        )
        return {(str(at["host"]), int(at["port"])): name for name, at in places}


def admin(port: int, **login: Any) -> Redis:
    """A client of this machine's that waits for nothing long."""
    return Redis(
        host="127.0.0.1",
        port=port,
        socket_timeout=CLIENT_SECONDS,
        socket_connect_timeout=CLIENT_SECONDS,
        **login,
    )
