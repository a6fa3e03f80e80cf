"""What no worker knows of itself: whether the site serves, nginx's log, Redis, the certificate, the disk.

The facts of Redis are those of `make status`, so an alert and that command never disagree.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deploy.ask import NoAnswer, ask
from deploy.upstream.read import Server, Upstream
from deploy.watch.nginx_log import NginxLog

SERVES_SECONDS = 3.0


class Target(NamedTuple):
    """A worker, where Prometheus reaches it; `weight` is its turns in one rotation, None where not all take turns."""

    address: str
    weight: int | None


class Program(NamedTuple):
    """What supervisord runs."""

    name: str
    runs: bool
    starts: int


@dataclass(frozen=True)
class Sources:
    """Where each fact comes from.

    A stack in Docker has no log file of nginx, and no supervisord of its own; a host of several may have no site,
    and no Redis (an empty answer).
    """

    site_url: str
    targets: Callable[[], Sequence[Target]]
    store: Callable[[], Mapping[str, Any]]
    certificate: Path
    folder: Path
    nginx_log: NginxLog | None = None
    programs: Callable[[], Sequence[Program]] | None = None


class Figures(Collector):
    """The last look at a stack: a scrape waits for nothing, however long Redis or nginx take."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._metrics: list[Metric] = []
        self.targets: Sequence[Target] = ()

    def look(self) -> None:
        """Look now; what cannot be looked at has no metric, or one that says so."""
        sources = self._sources
        self.targets = sources.targets()
        if sources.nginx_log:
            sources.nginx_log.read()
        self._metrics = [
            *(_of_site(sources.site_url) if sources.site_url else ()),
            *_of_rotation(self.targets),
            *(sources.nginx_log.metrics() if sources.nginx_log else ()),
            *(_of_store(facts) if (facts := sources.store()) else ()),
            *_of_certificate(sources.certificate),
            *_of_disk(sources.folder),
            *(_of_programs(sources.programs()) if sources.programs else ()),
        ]

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def targets_of(upstream: Upstream, places: Mapping[Server, Iterable[str]]) -> list[Target]:
    """The servers of `upstream` that are workers like ours, each at the hosts where it is to be found."""
    even = upstream.policy == "round_robin"
    return [
        Target(
            f"{host}:{server.port}", (server.weight if server.is_served else 0) if even else None
        )
        for server, hosts in places.items()
        for host in hosts
    ]


def _of_site(url: str) -> Iterator[Metric]:
    try:
        answer = ask(url, "/healthz", headers={"Host": "localhost"}, seconds=SERVES_SECONDS)
        serves = answer.status == 200
    except NoAnswer:
        serves = False
    yield GaugeMetricFamily("site_serves", "1: a worker answers through nginx.", value=int(serves))


def _of_rotation(targets: Iterable[Target]) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "site_worker_weight", "Turns in one rotation; 0: out of rotation.", labels=["worker"]
    )
    for target in targets:
        if target.weight is not None:
            family.add_metric([target.address], target.weight)
    yield family


def _of_store(facts: Mapping[str, Any]) -> Iterator[Metric]:
    servers = [server for server in facts.get("servers", ()) if "error" not in server]
    yield GaugeMetricFamily(
        "store_up", "1: Redis answers.", value=int("error" not in facts and bool(servers))
    )
    per_server: dict[str, tuple[str, Callable[[Mapping[str, Any]], float]]] = {
        "store_memory_bytes": ("Memory used.", lambda server: server["memory_bytes"]),
        "store_memory_limit_bytes": ("maxmemory.", lambda server: server["memory_limit_bytes"]),
        "store_keys": ("Keys: sessions, users, logins.", lambda server: server["keys"]),
        "store_persists": ("0: the last snapshot or append failed.", _persists),
        "store_replicas": ("Replicas that follow.", lambda server: len(server["replicas"])),
    }
    for name, (text, value) in per_server.items():
        family = GaugeMetricFamily(name, text, labels=["server"])
        for server in servers:
            family.add_metric([server["server"]], value(server))
        yield family
    yield from _of_refusals(servers)
    yield from _of_replicas(servers)


def _of_refusals(servers: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    refuses = GaugeMetricFamily(
        "store_refuses_writes", "1: a write would be refused.", labels=["server", "reason"]
    )
    for server in servers:
        said = server["refuses_writes"]
        reason = said.split(" ", 1)[0].lower() if said else ""
        refuses.add_metric([server["server"], reason], int(bool(said)))
    yield refuses


def _of_replicas(servers: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    labels = ["server", "replica"]
    lag = GaugeMetricFamily(
        "store_replica_lag_seconds", "Since the replica's last report.", labels=labels
    )
    behind = GaugeMetricFamily(
        "store_replica_behind_bytes", "What the replica does not have yet.", labels=labels
    )
    for server in servers:
        for replica in server["replicas"]:
            key = [server["server"], replica["server"]]
            lag.add_metric(key, replica["lag_seconds"])
            behind.add_metric(key, replica["behind_bytes"])
    yield from (lag, behind)


def _persists(server: Mapping[str, Any]) -> int:
    return int(not server["snapshot_failed"] and not server["append_failed"])


def _of_certificate(path: Path) -> Iterator[Metric]:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return
    yield GaugeMetricFamily(
        "tls_certificate_expiry_timestamp_seconds",
        "When nginx's certificate ends, in Unix time.",
        value=certificate.not_valid_after_utc.timestamp(),
    )


def _of_disk(folder: Path) -> Iterator[Metric]:
    disk = shutil.disk_usage(folder)
    yield GaugeMetricFamily(
        "disk_size_bytes", "Of the disk with sessions and logs.", value=disk.total
    )
    yield GaugeMetricFamily("disk_free_bytes", "Of it, free.", value=disk.free)


def _of_programs(programs: Iterable[Program]) -> Iterator[Metric]:
    runs = GaugeMetricFamily(
        "supervisor_program_running", "1: supervisord runs it.", labels=["program"]
    )
    starts = CounterMetricFamily(
        "supervisor_program_starts", "How often it was started.", labels=["program"]
    )
    for program in programs:
        runs.add_metric([program.name], int(program.runs))
        starts.add_metric([program.name], program.starts)
    yield from (runs, starts)
