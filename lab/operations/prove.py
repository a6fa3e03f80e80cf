"""`make proof-operations`: measure every operation on our stack and on a stock one, print the table, judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

from deploy.native.scratch import scratch_stack
from deploy.paths import ROOT
from deploy.refused import Refused
from lab.asked import asked
from lab.operations.cases import Operation, container_operations, operations
from lab.operations.compose import compose_stack, engine_answers
from lab.operations.load import RATE, SESSIONS, Load, failures
from lab.operations.ours import OursNative
from lab.operations.ours_docker import OursDocker
from lab.operations.stock import StockNative
from lab.operations.stock_docker import StockDocker
from lab.operations.table import Measured, Row, table, write_into
from lab.operations.target import ContainerTarget, Target

UPSTREAM = ROOT / "nginx/upstream.conf"
NO_ENGINE = "Docker: no engine answers, so only the stack without Docker was measured"
SHORT = ("SIGKILL", "scale app", "recreate")  # with --quick; the rest is tested in tests/compose
T = TypeVar("T", bound=Target)


def prove(environ: Mapping[str, str]) -> int:
    """Starts stacks of its own, and in Docker too where an engine answers: ten minutes, or three with QUICK=1.

    0 when ours lost no more than promised and no session was wrong, and the stock stacks did lose some.

    STACK=native or STACK=docker measures only that one; WRITE=1 puts the tables into the documentation.
    """
    quick, write = asked(environ, "QUICK"), asked(environ, "WRITE")
    kind = environ.get("STACK", "")
    docker = kind != "native" and engine_answers()
    if kind == "docker" and not docker:
        raise Refused("no Docker engine answers")
    print(f"{RATE:g} requests a second, half of them POST, from {SESSIONS} sessions", flush=True)
    problems = [] if kind == "docker" else _native(environ, quick=quick, write=write)
    if docker:
        problems += _docker(quick=quick, write=write)
    elif kind != "native":
        print(NO_ENGINE)
    print(
        "\n".join(problems)
        or "PASS: nothing was lost beyond what is promised, and stock settings do lose"
    )
    return 1 if problems else 0


def _native(environ: Mapping[str, str], *, quick: bool, write: bool) -> list[str]:
    work = operations(quick=quick)
    with scratch_stack(UPSTREAM, environ) as stack:
        ours = asyncio.run(measure("ours", OursNative(stack), work))
    with scratch_stack(UPSTREAM, environ) as stack:
        stock = asyncio.run(measure("stock", StockNative(stack), work))
    return _report("proof-operations", work, ours, stock, write=write)


def _docker(*, quick: bool, write: bool) -> list[str]:
    work: list[Operation[ContainerTarget]] = [*operations(quick=quick), *container_operations()]
    rate = RATE
    if quick:
        work = [operation for operation in work if operation.name.startswith(SHORT)]
        rate = RATE / 2  # twelve workers start on whatever machine this is
        print(f"in Docker {rate:g} requests a second", flush=True)
    with compose_stack() as stack:
        ours = asyncio.run(measure("ours in Docker", OursDocker(stack), work, rate))
    with compose_stack() as stack:
        stock = asyncio.run(measure("stock in Docker", StockDocker(stack), work, rate))
    return _report("proof-operations-docker", work, ours, stock, write=write)


def _report(
    place: str,
    work: Sequence[Operation[T]],
    ours: Sequence[Measured],
    stock: Sequence[Measured],
    *,
    write: bool,
) -> list[str]:
    """Print the table, and write it into the README; what does not hold."""
    rows = [
        Row(operation.name, operation.promise, one, other)
        for operation, one, other in zip(work, ours, stock, strict=True)
    ]
    print(f"\n{table(rows)}\n", flush=True)
    if write:
        write_into(ROOT / "README.md", place, table(rows))
    return judge(rows)


async def measure(
    name: str, target: T, work: Sequence[Operation[T]], rate: float = RATE
) -> list[Measured]:
    """Do each operation under `rate` requests a second."""
    load = Load(target.url, rate)
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


def judge(rows: Sequence[Row]) -> list[str]:
    """What does not hold."""
    problems = [f"{row.operation}: more was lost than may be" for row in rows if not row.ours.kept]
    problems += [
        f"{row.operation}: {row.ours.wrong} wrong sessions" for row in rows if row.ours.wrong
    ]
    stock = [row.stock for row in rows if row.stock]
    if stock and not any(measured.lost for measured in stock):
        problems.append("the stock stack lost nothing, so this run could not have seen a loss")
    return problems


def _measured(load: Load, operation: Operation[T], wrong: Sequence[str]) -> Measured:
    gets, posts = failures(load.results, "GET"), failures(load.results, "POST")
    if gets or posts:
        print(f"GET {dict(gets)} POST {dict(posts)}", end=" ", flush=True)
    for text in wrong:
        print(f"\n  wrong session: {text}", flush=True)
    kept = operation.allowed(load.results, operation.moments)
    return Measured(len(load.results), gets.total(), posts.total(), len(wrong), kept)
