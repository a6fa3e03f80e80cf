"""Eight hosts: two edges that share nothing, three with two workers each, three with a Redis and a Sentinel each."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from deploy.paths import ROOT
from deploy.supervisor.health import readiness
from deploy.upstream.read import text_of
from lab.hosts.machine import Machine
from lab.hosts.network import Host, Network
from lab.hosts.store import StoreHost, store_url
from lab.testbed.replicated import place_of_master
from lab.testbed.servers import wait_until

UPSTREAM = ROOT / "nginx/upstream.conf"
EDGES, WORKER_HOSTS, STORES = 2, 3, 3
PORTS = (8001, 8002)
HTTP_PORT = 8080
READY_SECONDS = 30.0
Place = Machine | StoreHost


class Hosts:
    """All of them; from `several_hosts` they run, and their network is whole."""

    def __init__(self, network: Network, settings: Mapping[str, str]) -> None:
        """`settings` are for each host with a part of the stack, as SESSION_WRITES_ACKNOWLEDGED_BY."""
        self.network, self.folder = network, network.folder
        hosts = network.hosts
        stores = [host for name, host in hosts.items() if name.startswith("store")]
        shared = self.folder / "shared"  # what an operator would copy to every host
        shared.mkdir(mode=0o700, parents=True)
        self.stores = [StoreHost(host, stores, self.folder / host.name, shared) for host in stores]
        workers = [host for name, host in hosts.items() if name.startswith("worker")]
        self.upstream = upstream_of(workers)
        own = {"NGINX_SECRET": secrets.token_urlsafe(32), **settings}
        keys = {
            "SESSION_SECRETS": secrets.token_urlsafe(32),
            "REDIS_URL": store_url(stores, shared),
        }
        self.workers = [
            self._machine(host, {**own, **keys, "ROLE": "workers", "WORKERS_BIND": host.address})
            for host in workers
        ]
        edge = {"HTTP_PORT": str(HTTP_PORT), "NGINX_PROCESSES": "2"}
        edge |= {"EXEMPT_NETWORKS": f"127.0.0.0/8,{network.network}"}  # the load generator's
        self.edges = [
            self._machine(host, {**own, **edge, "ROLE": "edge", "BIND": "0.0.0.0"})
            for name, host in hosts.items()
            if name.startswith("edge")
        ]

    @property
    def urls(self) -> list[str]:
        """Where each edge serves the site."""
        return [f"http://{edge.address}:{HTTP_PORT}" for edge in self.edges]

    @property
    def places(self) -> list[Place]:
        """All eight."""
        return [*self.edges, *self.workers, *self.stores]

    def master(self) -> StoreHost:
        """The one whose Redis the Sentinels name; Refused when none of them answers."""
        address, _ = place_of_master(one.sentinel.admin for one in self.stores)
        return next(one for one in self.stores if one.address == address)

    def cut(self, *places: Place) -> None:
        """As Network.cut."""
        self.network.cut(*(place.host for place in places))

    def partition(self, some: Iterable[Place], others: Iterable[Place]) -> None:
        """As Network.partition."""
        self.network.partition([one.host for one in some], [one.host for one in others])

    def one_way(self, senders: Iterable[Place], receivers: Iterable[Place]) -> None:
        """As Network.one_way."""
        self.network.one_way([one.host for one in senders], [one.host for one in receivers])

    def heal(self) -> None:
        """As Network.heal."""
        self.network.heal()

    def start(self) -> None:
        """Everything, the store first; returns when it is whole, and each edge has found its workers."""
        for store in self.stores:
            store.redis.start()
        wait_until(self._followed, seconds=READY_SECONDS, what="two replicas that follow")
        for store in self.stores:
            store.sentinel.start()
        for machine in (*self.workers, *self.edges):
            machine.begin()
        for machine in (*self.workers, *self.edges):
            machine.wait()
        # An edge that was up before its workers leaves them out for a second.
        wait_until(self._served, seconds=READY_SECONDS, what="workers behind each edge")

    def stop(self) -> None:
        for machine in (*self.edges, *self.workers):
            machine.stop()
        for store in self.stores:
            store.stop()

    def _machine(self, host: Host, settings: Mapping[str, str]) -> Machine:
        return Machine(host, self.folder / host.name, self.upstream, settings)

    def _served(self) -> bool:
        return all(
            readiness(HTTP_PORT, host=edge.address, path="/healthz") is None for edge in self.edges
        )

    def _followed(self) -> bool:
        about = self.stores[0].redis.admin.info("replication")
        states = [about.get(f"slave{n}", {}).get("state") for n in range(STORES - 1)]
        return states == ["online"] * (STORES - 1)


def upstream_of(workers: Iterable[Host]) -> str:
    """nginx/upstream.conf as it is shipped, with the workers' addresses in place of `app`."""
    lines = text_of(UPSTREAM).splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if line.lstrip().startswith("server app:"))
    kept = [line for line in lines if not line.lstrip().startswith("server app:")]
    pattern = lines[first].replace(" resolve", "")
    ours = [
        pattern.replace("app:8001", f"{host.address}:{port}") for host in workers for port in PORTS
    ]
    return "".join([*kept[:first], *ours, *kept[first:]])


@contextmanager
def several_hosts(**settings: str) -> Iterator[Hosts]:
    """They run while the block does, and their files go with them; Refused says why they cannot be made here."""
    names = [
        *(f"edge-{n}" for n in range(1, EDGES + 1)),
        *(f"worker-{n}" for n in range(1, WORKER_HOSTS + 1)),
        *(f"store-{n}" for n in range(1, STORES + 1)),
    ]
    with Network(names) as network:
        hosts = Hosts(network, settings)
        try:
            hosts.start()
            yield hosts
        finally:
            network.heal()
            hosts.stop()
            shutil.rmtree(network.folder, ignore_errors=True)
