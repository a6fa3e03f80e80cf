"""The course of a run: nothing, step after step, three disturbances, nothing again."""

import asyncio
import time
from collections.abc import Callable

from lab.client import Client
from lab.policies.crowd import JSON, Crowd
from lab.policies.drive import Driver
from lab.streams.holders import Held, Holders
from lab.streams.limits import memory_for, why_stopped
from lab.streams.logins import log_in, log_out
from lab.streams.logout import logout_seconds
from lab.streams.probe import Prober, now
from lab.streams.results import RELOAD, Fault, Found, Step
from lab.streams.settings import STREAMS_PER_SESSION, Settings
from lab.streams.stack import Stack
from loadtest.load.preflight import NotReachable

SLOWEST_CONNECTS = 150.0  # a second; slower than that, a step is given up
ALERT_SECONDS = 20.0
BACK_SECONDS = 150.0
OLD_NGINX_SECONDS = 75.0  # worker_shutdown_timeout is 60 s
CALM_SECONDS = 1.0  # the streams opened last are looked at once more
GIVEN_BACK_SECONDS = 8.0  # a worker waits until the crowd has gone, and has some rounds to do
LOGOUTS = 3
WARM_UP = 40
DISTURBANCES = (
    (RELOAD, "reload", False),
    ("rolling restart", "rolling-restart", False),
    ("SIGKILL of a worker", "kill-worker", True),
)


class Course:
    """One run against one stack; `found` fills up while it goes."""

    def __init__(self, settings: Settings, crowd: Crowd, client: Client, holders: Holders) -> None:
        self.found = Found(wanted=settings.most)
        self._settings = settings
        self._crowd = crowd
        self._client = client
        self._holders = holders
        self._stack = Stack(settings.stack_command)
        self._prober = Prober(Driver(crowd), settings.host)
        self._cookies: list[str] = []

    async def run(self) -> None:
        """All of it; what was found before an exception stays in `found`."""
        await self._begin()
        for streams in self._settings.steps:
            if not await self._step(streams):
                break
        if self._stack.reachable:
            for name, action, cuts_writes in DISTURBANCES:
                if action != "reload" or self._settings.reload:
                    await self._disturb(name, action, cuts_writes)
        await self._end()

    async def _begin(self) -> None:
        """Log in, use every path once, and measure the stack without streams."""
        count = -(-self._settings.most // STREAMS_PER_SESSION)
        self._cookies = await log_in(self._client, self._settings.password, 1)
        await self._require_events()
        self._cookies += await log_in(self._client, self._settings.password, count - 1)
        await self._crowd.log_in(self._client, f"{time.time_ns():x}")
        await self._open(WARM_UP)
        await self._deliver()
        await self._holders.close_all()
        await self._prober.measure(2)
        self.found.zero = await self._prober.measure(self._settings.probe_seconds)
        if self._stack.reachable:
            self.found.memory_before = await self._stack.memory()
        _say(f"no streams: p99 of normal requests {self.found.zero.p99:.1f} ms")

    async def _require_events(self) -> None:
        """NotReachable names what the stack lacks; without it nothing here can be measured."""
        headers = {"Cookie": self._cookies[0], **JSON}
        for method, path, expected in (("HEAD", "/events", 200), ("POST", "/api/alerts", 202)):
            body = b'{"text":"survey"}' if method == "POST" else b""
            answer = await self._client.request(method, path, headers, body)
            if answer.status != expected:
                raise NotReachable(f"{method} {path} answered {answer.status}, not {expected}")

    async def _step(self, streams: int) -> bool:
        """Open up to so many streams and measure; False when they could not be opened."""
        before = await self._holders.state()
        self.found.stopped_by = memory_for(streams - before.open)
        if self.found.stopped_by:
            return False
        held = await self._open(streams - before.open)
        if held.open < streams:
            files = await self._stack.files() if self._stack.reachable else {}
            self.found.stopped_by = why_stopped(held, files, streams)
            _say(f"{held.open:,} of {streams:,} streams: {self.found.stopped_by}")
            await self._holders.give_up()
            return False
        self.found.steps.append(await self._measured(streams, held.rate))
        return True

    async def _measured(self, streams: int, rate: float) -> Step:
        memory = await self._bytes_per_stream(streams)
        await asyncio.sleep(CALM_SECONDS)
        probe = await self._prober.measure(self._settings.probe_seconds)
        p50, p99, missed = await self._deliver()
        logouts = [
            await logout_seconds(self._settings.host, self._client, self._settings.password)
            for _ in range(LOGOUTS)
        ]
        _say(
            f"{streams:,} streams: {rate:,.0f} connects/s, p99 {probe.p99:.1f} ms, alert p99"
            f" {p99:.2f} s, logout {max(logouts):.2f} s"
        )
        return Step(streams, rate, memory, probe, p50, p99, missed, max(logouts))

    async def _bytes_per_stream(self, streams: int) -> dict[str, float]:
        if not self._stack.reachable:
            return {}
        memory = self.found.memory_full = await self._stack.memory()
        self.found.fullest = await self._stack.files()
        before = self.found.memory_before
        return {role: (memory[role] - before[role]) / streams for role in memory}

    async def _deliver(self) -> tuple[float, float, int]:
        """Send one alert: seconds until half and until 99 % of the streams had it, and who missed it."""
        mark = f"alert-{time.time_ns():x}"
        await self._holders.expect(mark)
        begin = now()
        headers = {"Cookie": self._cookies[0], **JSON}
        body = f'{{"text":"{mark}"}}'.encode()
        answer = await self._client.request("POST", "/api/alerts", headers, body)
        if answer.status != 202:
            raise RuntimeError(f"POST /api/alerts answered {answer.status}")
        moments, streams = await self._holders.delivered(ALERT_SECONDS)
        if not moments:
            return float("inf"), float("inf"), streams
        p50, p99 = (moments[int(share * (len(moments) - 1))] / 1e9 - begin for share in (0.5, 0.99))
        return p50, p99, max(0, streams - len(moments))

    async def _disturb(self, name: str, action: str, cuts_writes: bool) -> None:
        """Do it while normal requests go on, and wait until every stream is back."""
        await self._holders.forget()
        begin = now()
        task = asyncio.create_task(self._until_back(action))
        probe = await self._prober.measure_while(task)
        await task
        held = await self._holders.state()
        fault = Fault(
            name=name,
            cuts_writes=cuts_writes,
            lost=held.lost,
            back_seconds=now() - begin,
            longest_away=held.longest_away,
            peak_connects_per_second=held.peak_rate,
            connects_per_half_second=held.tries,
            refused=dict(held.refused),
            all_back=held.open >= held.wanted,
            probe=probe,
            memory=await self._stack.memory(),
        )
        self.found.faults.append(fault)
        _say(f"{name}: {fault.lost:,} lost, none away for more than {fault.longest_away:.1f} s")

    async def _until_back(self, action: str) -> None:
        processes = len((await self._stack.pids())["nginx"])
        await self._stack.act(action)
        deadline = now() + OLD_NGINX_SECONDS
        while len((await self._stack.pids())["nginx"]) > processes and now() < deadline:
            await asyncio.sleep(1)
        await asyncio.sleep(1)  # what was lost last is noticed by now
        await self._holders.settled(BACK_SECONDS)

    async def _end(self) -> None:
        """Close everything, and see whether the memory comes back."""
        await self._holders.close_all()
        if self._stack.reachable:
            await asyncio.sleep(GIVEN_BACK_SECONDS)
        self.found.zero_again = await self._prober.measure(self._settings.probe_seconds)
        if self._stack.reachable:
            self.found.memory_after = await self._stack.memory()
        await log_out(self._client, self._cookies)
        await self._crowd.log_out(self._client)

    async def _open(self, count: int) -> Held:
        """So many streams more, each session in its turn."""
        number = (await self._holders.state()).open
        cookies = [self._cookies[(number + n) % len(self._cookies)] for n in range(count)]
        return await self._holders.open(cookies, count / SLOWEST_CONNECTS + 20)


async def run_course(settings: Settings, crowd: Crowd, report: Callable[[Found], None]) -> None:
    """Run; `report` gets the findings object at once, before anything is in it."""
    async with (
        Client(settings.host, timeout_seconds=30) as client,
        Holders(settings.host, settings.sources) as holders,
    ):
        course = Course(settings, crowd, client, holders)
        report(course.found)
        try:
            await course.run()
        except asyncio.CancelledError:
            course.found.interrupted = True


def _say(text: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)
