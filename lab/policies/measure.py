"""The measuring: rounds of every workload under every policy, interleaved, until done or stopped."""

import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.client import Client
from lab.open_load import Driver
from lab.policies.cells import Run
from lab.policies.policies import BASE
from lab.policies.settings import Settings
from lab.policies.trap import Trapped, spring
from lab.policies.workloads import USERS, Workload
from lab.visitors import READ, VISIT, Visitor, Visitors
from loadtest.load.recorder import Recorder

TRAP_WEIGHT = 1.5


@dataclass(slots=True)
class Measured:
    """Everything that was measured; after an interruption, what was finished before it."""

    runs: list[Run] = field(default_factory=list)
    trapped: list[Trapped] = field(default_factory=list)
    fast_seconds: float = 0.002
    interrupted: bool = False

    def whole(self, workload: str, policies: int) -> list[Run]:
        """The runs of those rounds of a workload in which every policy was measured."""
        own = [run for run in self.runs if run.workload == workload]
        rounds = [run.round for run in own]
        return [run for run in own if rounds.count(run.round) == policies]


async def measure(settings: Settings, recorder: Recorder, found: Measured) -> None:
    """Measure.  Cancelling it ends it at once, with what there is in `found`."""
    visitors, run = Visitors(recorder, settings.password), f"{time.time_ns():x}"
    try:
        async with Client(settings.fronts[BASE]) as client:
            who = await visitors.log_in(client, (f"compare-{run}-{n}" for n in range(USERS)))
            found.fast_seconds = await _service_time(visitors, who, client)
        await _all_runs(settings, Driver(visitors, who), found)
        async with Client(settings.fronts[BASE]) as client:
            await visitors.log_out(client, who)
    except asyncio.CancelledError:
        found.interrupted = True


async def _service_time(visitors: Visitors, who: Sequence[Visitor], client: Client) -> float:
    """How many seconds a fast request takes when nothing else happens, for the model."""
    ops = [
        await visitors.ask(client, visitor, request) for visitor in who for request in (READ, VISIT)
    ]
    return statistics.median((op.returned - op.invoked) / 1e9 for op in ops)


async def _all_runs(settings: Settings, driver: Driver, found: Measured) -> None:
    start = time.monotonic()
    total = settings.rounds * sum(w.weight for w in settings.workloads)
    done = 0.0
    for number in range(settings.rounds):
        for workload in settings.workloads:
            await _one_round(settings, driver, workload, number, found)
            done += workload.weight
            left = max(0.0, (time.monotonic() - start) / done * (total - done))
            progress = f"  round {number + 1} of {settings.rounds}, {workload.name}"
            print(f"{progress:32}{done / total:5.0%}   about {left:.0f} s left", flush=True)
    for name, url in settings.traps.items():
        seconds = settings.seconds * TRAP_WEIGHT
        found.trapped.append(await spring(driver, name, url, seconds, str(settings.seed)))


async def _one_round(
    settings: Settings, driver: Driver, workload: Workload, number: int, found: Measured
) -> None:
    """The same arrivals for every policy, in another order each round."""
    length = settings.warm_up + settings.length(workload)
    plan = workload.plan(length, f"{settings.seed} {number}")
    order = list(settings.fronts)
    random.Random(f"{settings.seed} {number} {workload.name}").shuffle(order)
    for policy in order:
        url = settings.fronts[policy]
        sent = await driver.run(plan, url, workload.addresses())
        about = (policy, workload.name, number, settings.warm_up)
        found.runs.append(Run(*about, plan, sent.ops, sent.cpu_share))
