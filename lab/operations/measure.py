"""One stack under load while operations are done to it: what each lost, and which sessions were wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from deploy.paths import ROOT
from lab.operations.cases import Operation, waits
from lab.operations.load import RATE, Load, failures
from lab.operations.table import Measured
from lab.operations.target import Target
from loadtest.check.history import HistoryWriter, read_ops
from loadtest.check.offline import check
from loadtest.check.op import Lifetimes

RESULTS = ROOT / ".stack/operations"
T = TypeVar("T", bound=Target)


async def measure(
    name: str, target: T, work: Sequence[Operation[T]], rate: float = RATE
) -> list[Measured]:
    """Do each operation under `rate` requests a second; the history stays in RESULTS."""
    history = RESULTS / f"{name.replace(' ', '-')}.jsonl"
    load = Load(target.url, rate, HistoryWriter(history, Lifetimes()))
    await load.log_in()
    found = []
    for operation in work:
        print(f"{name}: {operation.name} …", end=" ", flush=True)
        began = time.monotonic()
        async with load.running():
            await asyncio.to_thread(operation.run, target, operation.moments)
        found.append(_measured(load, operation, await load.wrong_sessions()))
        print(f"{found[-1].lost} lost, {time.monotonic() - began:.0f} s", flush=True)
    late = [*load.close(), *_found_offline(history)]
    for text in late:
        print(f"  wrong session: {text}", flush=True)
    found[-1] = replace(found[-1], wrong=found[-1].wrong + len(late))
    return found


def _found_offline(history: Path) -> list[str]:
    """The promises that the second checker finds broken."""
    tallies = check(read_ops(history), Lifetimes()).tallies
    return [f"{name} (offline)" for name, tally in tallies.items() if tally.violations]


def _measured(load: Load, operation: Operation[T], wrong: Sequence[str]) -> Measured:
    results = [*load.results, *operation.moments.also]
    gets, posts = failures(results, "GET"), failures(results, "POST")
    if gets or posts:
        print(f"GET {dict(gets)} POST {dict(posts)}", end=" ", flush=True)
    for text in wrong:
        print(f"\n  wrong session: {text}", flush=True)
    return Measured(
        requests=len(results),
        lost_gets=gets.total(),
        lost_posts=posts.total(),
        wrong=len(wrong),
        kept=operation.allowed(results, operation.moments),
        waits=waits(results),
    )
