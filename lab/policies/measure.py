"""The measuring: rounds of every workload under every policy, interleaved, until done or stopped."""

import asyncio
import random
import statistics
import time
from dataclasses import dataclass, field

from lab.client import Client
from lab.policies.crowd import Crowd
from lab.policies.drive import Driver, Run
from lab.policies.policies import BASE
from lab.policies.settings import Settings
from lab.policies.trap import Trapped, spring
from lab.policies.workloads import Arrival, Call, Workload
from loadtest.load.recorder import Recorder

PROBES = 60
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


async def measure(settings: Settings, recorder: Recorder) -> Measured:
    """Measure.  Cancelling it ends it at once, with what there is."""
    found = Measured()
    crowd = Crowd(recorder, settings.password)
    try:
        async with Client(settings.fronts[BASE]) as client:
            await crowd.log_in(client, f"{time.time_ns():x}")
            found.fast_seconds = await _probe(crowd, client)
        await _all_runs(settings, Driver(crowd), found)
        async with Client(settings.fronts[BASE]) as client:
            await crowd.log_out(client)
    except asyncio.CancelledError:
        found.interrupted = True
    return found


async def _probe(crowd: Crowd, client: Client) -> float:
    """How long a fast request takes when nothing else happens: the model's service time."""
    taken = []
    for number in range(PROBES):
        call = Call.VISIT if number % 2 else Call.READ
        op = await crowd.ask(client, Arrival(0, number, call), time.monotonic_ns(), "198.18.0.7")
        taken.append((op.returned - op.invoked) / 1e9)
    return statistics.median(taken)


async def _all_runs(settings: Settings, driver: Driver, found: Measured) -> None:
    start = time.monotonic()
    total = settings.rounds * sum(w.weight for w in settings.workloads)
    done = 0.0
    for number in range(settings.rounds):
        for workload in settings.workloads:
            await _one_round(settings, driver, workload, number, found)
            done += workload.weight
            left = max(0.0, (time.monotonic() - start) / done * (total - done))
            said = f"  round {number + 1} of {settings.rounds}, {workload.name}"
            print(f"{said:32}{done / total:5.0%}   about {left:.0f} s left", flush=True)
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
        ops, cpu = await driver.run(plan, url, workload.addresses())
        run = Run(policy, workload.name, number, settings.warm_up, plan, ops, cpu)
        found.runs.append(run)
