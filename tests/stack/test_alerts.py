"""Each alert fires by its fault in a real Prometheus, and none is left once all faults are mended.

An hour is a minute here: every time in the rules is divided by 60.  DiskNearlyFull alone is fed by promtool
(deploy/watch/rules_test.yml): to fill a disk would stop everything else on this machine.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest

from deploy import certificate
from deploy.ask import NoAnswer
from deploy.free_port import free_ports
from deploy.native.options import read_options
from deploy.native.scratch import Scratch, scratch_stack
from deploy.operations.native import find_native
from deploy.watch.figures import Figures
from deploy.watch.native import sources_of
from deploy.watch.prometheus import Prometheus, find_prometheus, running, write_files
from deploy.watch.serve import serving
from lab.testbed.servers import RedisServer, wait_until
from tests.conftest import UPSTREAM
from tests.stack.processes import (
    boot_of,
    is_listening,
    pid_listening,
    supervisord_of,
    supervisord_pid,
)
from tests.stack.visitor import new_visitor

pytestmark = [pytest.mark.native, pytest.mark.long]
FASTER = 60
UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}  # milliseconds
TIME = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|(?<=for: )(\d+)([smhd])")
HEALTHY_SECONDS = 15.0  # a quarter of an hour
FIRES_SECONDS = 30.0
ENDS_SECONDS = 60.0
RATE = 40  # requests a second


def faster(rules: str) -> str:
    """The same rules with shorter times."""

    def divide(match: re.Match[str]) -> str:
        number, unit = match[1] or match[3], match[2] or match[4]
        return f"{int(number) * UNITS[unit] // FASTER}ms"

    return TIME.sub(divide, rules)


def often(config: str) -> str:
    """The same scrape jobs, twice a second."""
    return re.sub(
        r"(scrape_interval|scrape_timeout|evaluation_interval|refresh_interval): \ds",
        r"\1: 500ms",
        config,
    )


class Watched:
    """A stack of its own with Prometheus beside it, and visitors."""

    def __init__(self, stack: Scratch, redis: RedisServer, replica: RedisServer) -> None:
        self.stack, self.redis, self.replica = stack, redis, replica
        self.prometheus: Prometheus
        self.seen: dict[str, str] = {}  # every alert that has fired, with its summary
        self.over = Event()
        self.blind: Callable[[], object]

    def waits_for(self, *names: str) -> None:
        """Return when these have fired."""
        wait_until(
            lambda: {name.split()[0] for name in self.seen} >= set(names),
            seconds=FIRES_SECONDS,
            what=f"{names}, but {self.seen}",
        )

    def is_scraped(self) -> bool:
        """Whether every worker is, and no alert of the start is left."""
        up = [one for one in self.prometheus.query("up == 1") if one["metric"]["job"] == "workers"]
        return len(up) == len(self.stack.worker_ports) and not self.prometheus.firing()

    def look(self, figures: Figures) -> None:
        while not self.over.is_set():
            figures.look()
            with suppress(NoAnswer, KeyError):
                self.seen |= self.prometheus.firing()
            time.sleep(0.2)

    def visit(self) -> None:
        """Ordinary visitors, until the end; whatever they get."""
        with new_visitor(self.stack.url) as member:
            member.log_in()
            while not self.over.is_set():
                with suppress(httpx.HTTPError):
                    member.get("/api/session")
                time.sleep(1 / RATE)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with ExitStack() as own:
        servers = []
        for name in ("redis", "replica"):
            servers.append(own.enter_context(_running(RedisServer(tmp_path / name))))
        redis, replica = servers
        replica.follow(redis)
        settings = {"REDIS_URL": redis.url, "WATCHDOG_SECONDS": "2"}
        stack = own.enter_context(scratch_stack(UPSTREAM, os.environ, **settings))
        found = find_native(read_options(stack.settings))
        assert found is not None
        figures, one = Figures(sources_of(found)), Watched(stack, redis, replica)
        figures.look()
        figures_are_served = own.enter_context(ExitStack())
        port = figures_are_served.enter_context(serving(figures, "127.0.0.1", 0))
        one.blind = figures_are_served.close
        config = write_files(tmp_path / "watch", f"127.0.0.1:{port}")
        config.write_text(often(config.read_text()))
        rules = config.with_name("rules.yml")
        rules.write_text(faster(rules.read_text()))
        (own_port,) = free_ports(1)
        program = find_prometheus(os.environ)
        log = tmp_path / "prometheus.log"
        one.prometheus = own.enter_context(running(program, config, own_port, log))
        threads = [Thread(target=one.look, args=(figures,)), Thread(target=one.visit)]
        for thread in threads:
            thread.start()
        try:
            wait_until(one.is_scraped, seconds=30, what="a scrape of every worker")
            one.seen.clear()  # Prometheus takes 5 s for its first look at the list of workers
            yield one
        finally:
            one.over.set()
            for thread in threads:
                thread.join()


class _running(ExitStack):
    """A server while the block runs."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self._server = server

    def __enter__(self) -> RedisServer:  # type: ignore[override]
        super().__enter__()
        self.callback(self._server.stop)
        self._server.start()
        return self._server


def a_worker_hangs(watched: Watched) -> None:
    port = watched.stack.worker_ports[0]
    os.kill(pid_listening(supervisord_pid(watched.stack), port, watched.stack), signal.SIGSTOP)
    watched.waits_for("WorkerDown", "WorkerHangs")


def a_worker_flaps(watched: Watched) -> None:
    port = watched.stack.worker_ports[1]
    boots = {boot_of(port)}
    for _ in range(3):
        os.kill(pid_listening(supervisord_pid(watched.stack), port, watched.stack), signal.SIGKILL)
        wait_until(lambda: boot_of(port) not in boots | {None}, seconds=20, what="a new worker")
        boots.add(boot_of(port))
        time.sleep(1)  # for a scrape to see it
    watched.waits_for("WorkerFlaps")


def a_password_is_guessed(watched: Watched) -> None:
    with new_visitor(watched.stack.url) as thief:
        for number in range(40):
            thief.post("/login", data={"username": f"ann{number}", "password": "guess"})
            time.sleep(0.1)
    watched.waits_for("LoginsUnderAttack")


def a_replica_freezes_and_dies(watched: Watched) -> None:
    watched.replica.freeze()
    watched.waits_for("StoreReplicaLags")
    watched.replica.stop()
    watched.waits_for("StoreWithoutReplicas")
    watched.replica.start()
    watched.replica.follow(watched.redis)


def somebody_asks_past_nginx(watched: Watched) -> None:
    port = watched.stack.worker_ports[2]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        deadline = time.monotonic() + FIRES_SECONDS
        while not any(name.startswith("SpreadUneven") for name in watched.seen):
            assert time.monotonic() < deadline
            client.get("/nowhere")
            time.sleep(0.005)


def pages_block(watched: Watched) -> None:
    paths = ["/slow?kind=block&ms=600"] * 8 + ["/api/session"] * 80  # these wait behind those
    with ThreadPoolExecutor(len(paths)) as threads, new_visitor(watched.stack.url) as member:
        member.log_in()
        deadline = time.monotonic() + FIRES_SECONDS
        while not any(name.startswith("LatencyObjectiveBurns") for name in watched.seen):
            assert time.monotonic() < deadline
            list(threads.map(member.get, paths))


def the_certificate_is_old(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    file = watched.stack.state / "https/certificate.pem"
    before = file.read_bytes()
    monkeypatch.setattr(certificate, "DAYS", 10)
    file.write_bytes(certificate.make_pair(["localhost"]).chain)
    watched.waits_for("CertificateExpires")
    file.write_bytes(before)


def redis_is_away(watched: Watched) -> None:
    watched.redis.freeze()
    watched.waits_for("StoreDown", "ErrorShareHigh")
    watched.redis.thaw()


def redis_is_full(watched: Watched) -> None:
    watched.redis.admin.config_set("maxmemory", "1")
    watched.waits_for("StoreRefusesWrites", "StoreNearlyFull")
    watched.redis.admin.config_set("maxmemory", "0")


def nginx_is_stopped(watched: Watched) -> None:
    supervisord = supervisord_of(watched.stack)
    supervisord.stop(["nginx"])
    watched.waits_for("SiteDown")
    supervisord.start_program("nginx")
    wait_until(lambda: is_listening(watched.stack.http_port), seconds=20, what="nginx")


def test_each_alert_fires_and_ends(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A healthy load fires none; each fault fires its own; once all are mended none is left."""
    time.sleep(HEALTHY_SECONDS)
    assert watched.seen == {}

    pages_block(watched)
    at_once = (a_worker_hangs, a_worker_flaps, a_password_is_guessed, a_replica_freezes_and_dies)
    with ThreadPoolExecutor(len(at_once)) as threads:
        for fault in [threads.submit(fault, watched) for fault in at_once]:
            fault.result()
    the_certificate_is_old(watched, monkeypatch)
    somebody_asks_past_nginx(watched)
    redis_is_away(watched)
    redis_is_full(watched)
    nginx_is_stopped(watched)
    wait_until(lambda: watched.prometheus.firing() == {}, seconds=ENDS_SECONDS, what="no alert")
    watched.blind()
    watched.waits_for("NothingIsWatched")

    rules = (Path(__file__).parents[2] / "deploy/watch/rules.yml").read_text()
    all_alerts = set(re.findall(r"- alert: (\w+)", rules))
    assert {name.split()[0] for name in watched.seen} == all_alerts - {"DiskNearlyFull"}
