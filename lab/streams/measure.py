"""The measuring: no streams, step after step, three faults, no streams again."""

from __future__ import annotations

import asyncio
import time

from lab.client import Client
from lab.open_load import Driver
from lab.streams.bottleneck import memory_for, why_stopped
from lab.streams.generators import Counts, Generators
from lab.streams.logout import logout_seconds
from lab.streams.probe import USERS, Prober, now
from lab.streams.results import RELOAD, Fault, Found, Step
from lab.streams.settings import STREAMS_PER_SESSION, Settings
from lab.streams.stack import Stack
from lab.visitors import JSON, Visitor, Visitors
from loadtest.load.preflight import NotReachable
from loadtest.load.recorder import Recorder
from loadtest.verdict.latency import percentile

SLOWEST_CONNECTS = 150.0  # a second; slower than that, a step is given up
ALERT_SECONDS = 20.0
BACK_SECONDS = 150.0
OLD_NGINX_SECONDS = 75.0  # worker_shutdown_timeout is 60 s
SETTLE_SECONDS = 1.0  # the streams opened last are asked for their session once more
GIVEN_BACK_SECONDS = 8.0  # a worker waits until the streams are gone before it returns memory
LOGOUTS = 3
WARM_UP = 40
FAULTS = (
    (RELOAD, "reload", False),
    ("rolling restart", "rolling-restart", False),
    ("SIGKILL of a worker", "kill-worker", True),
)


async def measure(settings: Settings, recorder: Recorder, found: Found) -> None:
    """Measure.  What was found before an exception or a cancellation stays in `found`."""
    visitors = Visitors(recorder, settings.password)
    async with (
        Client(settings.host, timeout_seconds=30) as client,
        Generators(settings.host, settings.sources) as generators,
    ):
        try:
            await _Measurement(settings, visitors, client, generators, found).run()
        except asyncio.CancelledError:
            found.interrupted = True


class _Measurement:
    """One run against one stack."""

    def __init__(
        self,
        settings: Settings,
        visitors: Visitors,
        client: Client,
        generators: Generators,
        found: Found,
    ) -> None:
        self._settings, self._visitors, self._client = settings, visitors, client
        self._generators, self._found = generators, found
        self._stack = Stack(settings.stack_command)
        self._members: list[Visitor] = []  # whose streams are held
        self._users: list[Visitor] = []  # who send normal requests meanwhile

    async def run(self) -> None:
        await self._begin()
        for streams in self._settings.steps:
            if not await self._step(streams):
                break
        if self._stack.reachable:
            for name, action, cuts_writes in FAULTS:
                if action != "reload" or self._settings.reload:
                    await self._cause(name, action, cuts_writes)
        await self._end()

    async def _begin(self) -> None:
        """Log in, use every path once, and measure the stack without streams."""
        count = -(-self._settings.most // STREAMS_PER_SESSION)
        self._members = await self._log_in("longconn", 1)
        await self._require_events()
        self._members += await self._log_in("longconn-more", count - 1)
        self._users = await self._log_in("beside", USERS)
        self._prober = Prober(Driver(self._visitors, self._users), self._settings.host)
        await self._open(WARM_UP)
        await self._deliver()
        await self._generators.tell("close")
        await self._prober.measure(2)
        self._found.zero = await self._prober.measure(self._settings.probe_seconds)
        if self._stack.reachable:
            self._found.memory_before = await self._stack.memory()
        _log(f"no streams: p99 of normal requests {self._found.zero.p99:.1f} ms")

    async def _log_in(self, name: str, count: int) -> list[Visitor]:
        run = f"{time.time_ns():x}"
        return await self._visitors.log_in(
            self._client, (f"{name}-{run}-{n}" for n in range(count))
        )

    async def _require_events(self) -> None:
        """NotReachable names what the stack lacks; without it nothing here can be measured."""
        headers = {"Cookie": self._members[0].cookie, **JSON}
        for method, path, expected in (("HEAD", "/events", 200), ("POST", "/api/alerts", 202)):
            body = b'{"text":"survey"}' if method == "POST" else b""
            answer = await self._client.request(method, path, headers, body)
            if answer.status != expected:
                raise NotReachable(f"{method} {path} answered {answer.status}, not {expected}")

    async def _step(self, streams: int) -> bool:
        """Open up to so many streams and measure; False when they could not be opened."""
        before = await self._generators.state()
        self._found.stopped_by = memory_for(streams - before.open)
        if self._found.stopped_by:
            return False
        counts = await self._open(streams - before.open)
        if counts.open < streams:
            files = await self._stack.files() if self._stack.reachable else {}
            self._found.stopped_by = why_stopped(counts, files, streams)
            _log(f"{counts.open:,} of {streams:,} streams: {self._found.stopped_by}")
            await self._generators.tell("give_up")
            return False
        self._found.steps.append(await self._measured(streams, counts.rate))
        return True

    async def _measured(self, streams: int, rate: float) -> Step:
        memory = await self._bytes_per_stream(streams)
        await asyncio.sleep(SETTLE_SECONDS)
        probe = await self._prober.measure(self._settings.probe_seconds)
        p50, p99, missed = await self._deliver()
        logouts = [await self._logout_seconds() for _ in range(LOGOUTS)]
        _log(
            f"{streams:,} streams: {rate:,.0f} connects/s, p99 {probe.p99:.1f} ms, alert p99"
            f" {p99:.2f} s, logout {max(logouts):.2f} s"
        )
        return Step(streams, rate, memory, probe, p50, p99, missed, max(logouts))

    async def _logout_seconds(self) -> float:
        [visitor] = await self._log_in("logout", 1)
        return await logout_seconds(self._settings.host, self._client, self._visitors, visitor)

    async def _bytes_per_stream(self, streams: int) -> dict[str, float]:
        if not self._stack.reachable:
            return {}
        memory = self._found.memory_full = await self._stack.memory()
        self._found.fullest = await self._stack.files()
        before = self._found.memory_before
        return {role: (memory[role] - before[role]) / streams for role in memory}

    async def _deliver(self) -> tuple[float, float, int]:
        """Send one alert: seconds until half and until 99 % of the streams had it, and who missed it."""
        mark = f"alert-{time.time_ns():x}"
        await self._generators.tell("expect", mark=mark)
        begin = now()
        headers = {"Cookie": self._members[0].cookie, **JSON}
        body = f'{{"text":"{mark}"}}'.encode()
        answer = await self._client.request("POST", "/api/alerts", headers, body)
        if answer.status != 202:
            raise RuntimeError(f"POST /api/alerts answered {answer.status}")
        moments, streams = await self._generators.delivered(ALERT_SECONDS)
        if not moments:
            return float("inf"), float("inf"), streams
        p50, p99 = (percentile(moments, share) / 1e9 - begin for share in (0.5, 0.99))
        return p50, p99, max(0, streams - len(moments))

    async def _cause(self, name: str, action: str, cuts_writes: bool) -> None:
        """Cause a fault while normal requests go on, and wait until every stream is back."""
        await self._generators.tell("forget")
        begin = now()
        task = asyncio.create_task(self._until_back(action))
        probe = await self._prober.measure_while(task)
        await task
        counts = await self._generators.state()
        fault = Fault(
            name=name,
            cuts_writes=cuts_writes,
            lost=counts.lost,
            back_seconds=now() - begin,
            longest_away=counts.longest_away,
            peak_connects_per_second=counts.peak_rate,
            connects_per_half_second=counts.tries,
            refused=dict(counts.refused),
            all_back=counts.open >= counts.wanted,
            probe=probe,
            memory=await self._stack.memory(),
        )
        self._found.faults.append(fault)
        _log(f"{name}: {fault.lost:,} lost, none away for more than {fault.longest_away:.1f} s")

    async def _until_back(self, action: str) -> None:
        processes = len((await self._stack.pids())["nginx"])
        await self._stack.act(action)
        deadline = now() + OLD_NGINX_SECONDS
        while len((await self._stack.pids())["nginx"]) > processes and now() < deadline:
            await asyncio.sleep(1)
        await asyncio.sleep(1)  # what was lost last is noticed by now
        await self._generators.tell("settled", seconds=BACK_SECONDS)

    async def _end(self) -> None:
        """Close everything, and see how much memory comes back."""
        await self._generators.tell("close")
        if self._stack.reachable:
            await asyncio.sleep(GIVEN_BACK_SECONDS)
        self._found.zero_again = await self._prober.measure(self._settings.probe_seconds)
        if self._stack.reachable:
            self._found.memory_after = await self._stack.memory()
        await self._visitors.log_out(self._client, [*self._members, *self._users])

    async def _open(self, count: int) -> Counts:
        """So many streams more, each session in its turn."""
        number = (await self._generators.state()).open
        members = [self._members[(number + n) % len(self._members)] for n in range(count)]
        cookies = [member.cookie for member in members]
        return await self._generators.open(cookies, count / SLOWEST_CONNECTS + 20)


def _log(text: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)
