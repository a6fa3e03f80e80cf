"""What is measured: rounds in which every handler has its turn, memory at rest, and commands a request."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from app.sessions import Pipeline, RedisSessions
from deploy.paths import ROOT
from lab.cost.generator import Generator, Target
from lab.cost.in_turns import Moment
from lab.cost.ratios import Comparison, Sample
from lab.cost.site import data_of
from lab.testbed.monitor import Monitor
from lab.testbed.servers import RedisServer
from lab.testbed.workers import Worker, clean_environment

VISITORS = 500
NEW_VISITORS = 30_000  # in turn: three times what a worker remembers of visitors
APPLICATION, NEW = "application", "new visitors"
COUNTED, UNCOUNTED = "counted", "uncounted"
AT_ONCE = 100
TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds

COMPARISONS = (
    Comparison("the bare handler with itself: the noise", "bare again", "bare"),
    Comparison("session read / the cookie alone", "read", "cookie", goal=0.95),
    Comparison("session read / bare handler", "read", "bare", goal=0.85),
    Comparison("session read / the article's way", "read", "article", goal=3.0),
    Comparison("session read, visitors never seen before / the same ones", NEW, "read"),
    Comparison("session read, visitors never seen before / the article's way", NEW, "article"),
    Comparison("guarded save / blind SET of a blob", "guarded save", "blind save"),
    Comparison("the application's GET /api/session / bare handler", APPLICATION, "bare"),
    Comparison("the same / without figures for Prometheus", COUNTED, UNCOUNTED, goal=0.98),
)


@dataclass(frozen=True)
class Size:
    """How long it takes: rounds, seconds a handler and round, sessions at rest."""

    rounds: int
    seconds: float
    sessions: int


FULL = Size(rounds=9, seconds=1, sessions=10_000)
QUICK = Size(rounds=5, seconds=0.3, sessions=2_000)


@contextmanager
def handlers(server: RedisServer, folder: Path) -> Iterator[list[Target]]:
    """The handlers of site.py in one process; the application in another."""
    numbers = (str(VISITORS), str(NEW_VISITORS))
    command = [sys.executable, "-m", "lab.cost.site", server.url, *numbers]
    worker = Worker(folder, server.url)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=clean_environment(), cwd=ROOT, text=True
    ) as site:
        try:
            worker.start()
            assert site.stdout is not None
            told = json.loads(site.stdout.readline())
            worker.wait_ready()
            assert worker.process is not None
            ours, ports = told["cookies"], told["ports"]
            cookies = dict.fromkeys(ports, ours) | {"article": told["article"]}
            yield [
                *(Target(name, port, "/", site.pid, cookies[name]) for name, port in ports.items()),
                Target(NEW, ports["read"], "/", site.pid, told["new"]),
                Target(APPLICATION, worker.port, "/api/session", worker.process.pid, ours),
            ]
        finally:
            worker.stop()
            site.kill()


def rounds(targets: Sequence[Target], generator: Generator, size: Size) -> dict[str, list[Sample]]:
    """Each handler once a round; the order turns, so that none always follows the same one."""
    samples: dict[str, list[Sample]] = {target.name: [] for target in targets}
    for target in targets:
        generator.rate(target, size.seconds)  # warms up
    for number in range(size.rounds):
        at = number % len(targets)
        for target in [*targets[at:], *targets[:at]]:
            samples[target.name].append(_sample(target, generator, size.seconds))
    return samples


def _sample(target: Target, generator: Generator, seconds: float) -> Sample:
    before = _processor_seconds(target.pid)
    answers, took = generator.rate(target, seconds)
    used = max(_processor_seconds(target.pid) - before, TICK)
    return Sample(rate=answers / took, processor=used / answers)


def with_and_without_figures(
    server: RedisServer, folder: Path, cookies: Sequence[str], generator: Generator, size: Size
) -> dict[str, list[Sample]]:
    """The application, counting and timing its requests every other moment: a sample of each half a round."""
    worker = Worker(folder, server.url, "lab.cost.in_turns")
    samples: dict[str, list[Sample]] = {COUNTED: [], UNCOUNTED: []}
    try:
        worker.start()
        worker.wait_ready()
        assert worker.process is not None
        target = Target(COUNTED, worker.port, "/api/session", worker.process.pid, cookies)
        generator.rate(target, size.seconds)  # warms up
        _busy_moments(worker)
        for _ in range(size.rounds):
            generator.rate(target, size.seconds)
            moments = _busy_moments(worker)
            samples[COUNTED].append(_sum(moment for moment in moments if moment.counted))
            samples[UNCOUNTED].append(_sum(moment for moment in moments if not moment.counted))
    finally:
        worker.stop()
    return samples


def _sum(moments: Iterable[Moment]) -> Sample:
    half = list(moments)
    answers = sum(moment.answers for moment in half)
    processor = sum(moment.processor for moment in half)
    return Sample(answers / sum(moment.seconds for moment in half), processor / answers)


def _busy_moments(worker: Worker) -> list[Moment]:
    """Those since the last look that were asked from their begin to their end."""
    told = httpx.get(f"{worker.url}/metrics", trust_env=False, timeout=10).json()
    moments = [Moment(**one) for one in told]
    busy = [number for number, moment in enumerate(moments) if moment.answers]
    return moments[busy[0] + 1 : busy[-1]]


def _processor_seconds(pid: int) -> float:
    """What a process has used, in its own code and in the kernel; in steps of 10 ms."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def bytes_at_rest(server: RedisServer, sessions: int) -> float:
    """Bytes that one more session of three keys takes in Redis, its user's index included."""
    pipeline = Pipeline(server.url, timeout_seconds=30)
    store = RedisSessions(pipeline)
    for number in range(AT_ONCE):  # what is allocated once does not count
        await store.create(f"warm-{number}", data_of(number))
    before = server.admin.info("memory")["used_memory"]
    for start in range(0, sessions, AT_ONCE):
        numbers = range(start, start + AT_ONCE)
        await asyncio.gather(*(store.create(f"rest-{n}", data_of(n)) for n in numbers))
    after = server.admin.info("memory")["used_memory"]
    await pipeline.close()
    return float(after - before) / sessions


def commands(server: RedisServer, application: Target) -> dict[str, int]:
    """Commands to Redis that a request of each class costs, by Redis's own account."""
    url = f"http://127.0.0.1:{application.port}"
    visitor = {"Cookie": application.cookies[0]}
    counted = {}
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as http:
        http.post("/api/visits", headers=visitor, json={"op": "warm"}).raise_for_status()
        for what, method, headers, body in (
            ("anonymous", "GET", {}, None),
            ("read", "GET", visitor, None),
            ("write", "POST", visitor, {"op": "counted"}),
        ):
            path = "/api/visits" if method == "POST" else "/api/session"
            with Monitor(server) as asked:
                answer = http.request(method, path, headers=headers, json=body)
            assert answer.status_code == (200 if headers else 401), answer
            counted[what] = len(asked.from_clients)
    return counted
