"""Three hosts with the same upstream.conf, as addresses of this machine: an edge, and two with workers."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from deploy.free_port import free_ports
from deploy.native.scratch import end_run, start_run, wait_for_start
from deploy.paths import ROOT
from lab.operations.load import Load, failures
from lab.testbed.servers import RedisServer, wait_until
from lab.testbed.workers import clean_environment

pytestmark = pytest.mark.long
EDGE, FIRST, SECOND = "127.0.0.1", "127.0.0.2", "127.0.0.3"
RATE = 100.0


@dataclass
class Host:
    """One of them, with a copy of the file of its own."""

    settings: Mapping[str, str]
    said: str = ""  # by `run`, when it was ready
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = start_run(self.settings)
        self.said = wait_for_start(self.process)

    def stop(self) -> None:
        if self.process:
            end_run(self.process)
            self.process = None

    @property
    def upstream_conf(self) -> Path:
        return Path(self.settings["UPSTREAM_CONF"])

    def operate(self, *words: str) -> tuple[int, str]:
        """The exit code of `python -m deploy WORDS` there, and what it said."""
        command = [sys.executable, "-m", "deploy", *words]
        done = subprocess.run(
            command, env=self.settings, cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def done(self, *words: str) -> str:
        code, said = self.operate(*words)
        assert code == 0, said
        return said


@dataclass
class Hosts:
    edge: Host
    first: Host
    second: Host
    url: str
    workers: list[str]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """All three run; the edge was started first, when no worker answered."""
    folder = tmp_path_factory.mktemp("hosts")
    http, https, *ports = free_ports(4)
    workers = [f"{FIRST}:{ports[0]}", f"{FIRST}:{ports[1]}", f"{SECOND}:{ports[0]}"]
    lines = "".join(f"    server {one} max_fails=1 fail_timeout=1s;\n" for one in workers)
    text = f"upstream app {{\n    zone app 512k;\n    keepalive 128;\n    keepalive_timeout 2s;\n{lines}}}\n"
    redis = RedisServer(folder / "redis")
    shared = clean_environment(
        PYTHONWARNINGS="",  # supervisord has some
        ENV_FILE="",
        STACK="native",
        NGINX_SECRET="n" * 32,
        NGINX_PROCESSES="1",
        HTTP_PORT=str(http),
        HTTPS_PORT=str(https),
    )
    secret = {"SESSION_SECRETS": "s" * 32, "REDIS_URL": redis.url}
    with ExitStack() as ended:
        redis.start()
        ended.callback(redis.stop)
        made = []
        for name, role in ((EDGE, "edge"), (FIRST, "workers"), (SECOND, "workers")):
            (folder / name).mkdir()
            conf = folder / name / "upstream.conf"
            conf.write_text(text)
            own = {"ROLE": role, "UPSTREAM_CONF": str(conf), "STACK_DIR": str(folder / name / "s")}
            own |= {} if role == "edge" else {"WORKERS_BIND": name, **secret}
            host = Host({**shared, **own})
            ended.callback(host.stop)
            host.start()
            made.append(host)
        yield Hosts(*made, f"http://{EDGE}:{http}", workers)


def test_one_site(hosts: Hosts) -> None:
    """Each host says what it runs; a session of one worker is known to every other, in turn, on both hosts."""
    assert "none started here" in hosts.edge.said
    assert f"workers on {FIRST}" in hosts.first.said
    with httpx.Client(base_url=hosts.url, trust_env=False) as browser:
        browser.post("/login", data={"username": "ann", "password": "demo"})
        wait_until(partial(_all_answer, browser, hosts), seconds=20, what="all three, in turn")


def test_status(hosts: Hosts) -> None:
    """On the edge every server has a row with its share; on a host of workers its own have uptimes, others none."""
    with httpx.Client(base_url=hosts.url, trust_env=False) as browser:
        browser.post("/login", data={"username": "bob", "password": "demo"})
        wait_until(partial(_all_have_a_share, browser, hosts), seconds=60, what="a share of each")
    rows = _rows(hosts.edge.done("status"))
    assert sorted(rows) == sorted(hosts.workers)
    assert all("ready, elsewhere" in row for row in rows.values())

    said = hosts.first.done("status")
    rows = _rows(said)
    assert sorted(rows) == sorted(hosts.workers)
    assert ["elsewhere" in rows[name] for name in hosts.workers] == [False, False, True]
    assert "nginx     on other hosts" in said


def _all_answer(browser: httpx.Client, hosts: Hosts) -> bool:
    """Whether three requests are answered by three workers, each of which knows the session.

    One that has just been started, or was slow, nginx leaves out for a second.
    """
    answers = [browser.get("/api/session").json() for _ in range(3)]
    assert len({answer["user"] for answer in answers}) == 1
    return {answer["worker"] for answer in answers} == set(hosts.workers)


def _all_have_a_share(browser: httpx.Client, hosts: Hosts) -> bool:
    """Whether each server's row has a share of the last minute's requests, in which another test may have had one down."""
    for _ in range(20):
        _all_answer(browser, hosts)
    rows = _rows(hosts.edge.done("status")).values()
    return all(re.search(r"[1-9]\d?\.\d%", row) for row in rows)


def _rows(said: str) -> dict[str, str]:
    return {line.split()[0]: line for line in said.splitlines() if line.startswith("127.0.0.")}


def test_operations_lose_nothing(hosts: Hosts) -> None:
    """Draining on the edge, a rolling restart and scaling on a host of workers: no request is lost, in whichever order
    hosts are told, and each says what is to be done on which host."""
    said: list[str] = []

    def work() -> None:
        said.append(hosts.edge.done("drain", hosts.workers[2]))
        said.append(hosts.edge.done("undrain", hosts.workers[2]))
        said.append(hosts.first.done("rolling-restart"))
        said.append(hosts.second.done("scale", "2"))
        shutil.copy(hosts.second.upstream_conf, hosts.edge.upstream_conf)
        said.append(hosts.edge.done("reload"))
        hosts.second.done("scale", "1")  # in the wrong order: nginx goes on to another worker
        shutil.copy(hosts.second.upstream_conf, hosts.edge.upstream_conf)
        hosts.edge.done("reload")

    async def under_load() -> dict[str, int]:
        load = Load(hosts.url, RATE)
        await load.log_in()
        async with load.running():
            await asyncio.to_thread(work)
        assert [*await load.wrong_sessions(), *load.close()] == []
        return {**failures(load.results, "GET"), **failures(load.results, "POST")}

    assert asyncio.run(under_load()) == {}
    drained, _, restarted, scaled, reloaded = said
    assert f"{hosts.workers[2]} is idle" in drained
    assert "on each other edge host too" in drained
    assert (
        f"2 workers restarted; not restarted, as other hosts run them: {hosts.workers[2]}"
        in restarted
    )
    assert "each edge host needs this upstream.conf and a `make reload` too" in scaled
    assert f"+ {SECOND}:" in reloaded
    assert "16 requests reached" in reloaded  # four rounds of four workers


def test_what_a_host_cannot_do(hosts: Hosts) -> None:
    """What only another host can do is refused, with its name."""
    worker = hosts.workers[0]
    refused = {
        "rolling-restart": hosts.edge.operate("rolling-restart"),
        "scale": hosts.edge.operate("scale", "9"),
        "drain": hosts.first.operate("drain", worker.rpartition(":")[2]),
        "loadtest": hosts.first.operate("with-stack", "--", "true"),
    }

    assert [code for code, _ in refused.values()] == [1] * 4
    assert worker in refused["rolling-restart"][1]
    assert FIRST in refused["scale"][1]
    assert f"`make drain W={worker}` on each edge host" in refused["drain"][1]
    assert "an edge host" in refused["loadtest"][1]


def test_host_that_is_gone(hosts: Hosts) -> None:
    """When a whole host of workers stops, the edge names what does not answer, and goes on serving."""
    hosts.second.stop()
    with httpx.Client(base_url=hosts.url, trust_env=False) as browser:
        assert {browser.get("/login").status_code for _ in range(8)} == {200}
    code, said = hosts.edge.operate("status")
    hosts.second.start()

    assert code == 1
    assert f"{hosts.workers[2]} does not answer, and this stack does not start it" in said
