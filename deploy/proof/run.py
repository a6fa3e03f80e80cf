"""`make proof-operations`: measure every operation on our stack and on a stock one, print the table, judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from deploy.native.scratch import scratch_stack
from deploy.paths import ROOT
from deploy.proof.load import RATE, SESSIONS, Load, failures
from deploy.proof.operations import Operation, operations
from deploy.proof.ours import OursNative
from deploy.proof.stock import StockNative
from deploy.proof.table import Measured, Row, table, write_into
from deploy.proof.target import Target

UPSTREAM = ROOT / "nginx/upstream.conf"
PLACE = "proof-operations"


def prove(environ: Mapping[str, str], *, quick: bool) -> int:
    """0 when ours lost no more than promised and no session was wrong, and the stock stack did lose some."""
    work = operations(quick=quick)
    print(f"{RATE:g} requests a second, half of them POST, from {SESSIONS} sessions", flush=True)
    with scratch_stack(UPSTREAM, environ) as stack:
        ours = asyncio.run(measure("ours", OursNative(stack), work))
    with scratch_stack(UPSTREAM, environ) as stack:
        stock = asyncio.run(measure("stock", StockNative(stack), work))
    rows = [
        Row(operation.name, operation.promise, one, other)
        for operation, one, other in zip(work, ours, stock, strict=True)
    ]
    print(f"\n{table(rows)}\n")
    if not quick:
        write_into(ROOT / "README.md", PLACE, table(rows))
    return judge(rows)


async def measure(name: str, target: Target, work: Sequence[Operation]) -> list[Measured]:
    """Do each operation under load."""
    load = Load(target.url)
    await load.log_in()
    found = []
    for operation in work:
        print(f"{name}: {operation.name} …", end=" ", flush=True)
        began = time.monotonic()
        async with load.running():
            await asyncio.to_thread(operation.run, target, operation.moments)
        found.append(_measured(load, operation, await load.wrong_sessions()))
        print(f"{found[-1].lost} lost, {time.monotonic() - began:.0f} s", flush=True)
    load.close()
    return found


def judge(rows: Sequence[Row]) -> int:
    """Say what does not hold; the exit code."""
    problems = [f"{row.operation}: more was lost than may be" for row in rows if not row.ours.kept]
    problems += [
        f"{row.operation}: {row.ours.wrong} wrong sessions" for row in rows if row.ours.wrong
    ]
    stock = [row.stock for row in rows if row.stock]
    if stock and not any(measured.lost for measured in stock):
        problems.append("the stock stack lost nothing, so this run could not have seen a loss")
    print(
        "\n".join(problems)
        or "PASS: nothing was lost beyond what is promised, and stock settings do lose"
    )
    return 1 if problems else 0


def _measured(load: Load, operation: Operation, wrong: Sequence[str]) -> Measured:
    gets, posts = failures(load.results, "GET"), failures(load.results, "POST")
    if gets or posts:
        print(f"GET {dict(gets)} POST {dict(posts)}", end=" ", flush=True)
    for text in wrong:
        print(f"\n  wrong session: {text}", flush=True)
    kept = operation.allowed(load.results, operation.moments)
    return Measured(len(load.results), gets.total(), posts.total(), len(wrong), kept)
