"""`make proof-operations`: measure every operation on our stack and on a stock one, print the table, judge."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from deploy.native.scratch import scratch_stack
from deploy.native.site import NativeSite
from deploy.operations.find import find_stack
from deploy.operations.native import NativeStack
from deploy.operations.reload import apply
from deploy.operations.stack import Stack
from deploy.paths import ROOT
from deploy.refused import Refused
from lab.operations.cases import Operation, container_operations, operations
from lab.operations.compose import ComposeScratch, compose_stack, engine_answers
from lab.operations.load import RATE, SESSIONS
from lab.operations.measure import measure
from lab.operations.ours import OursNative
from lab.operations.ours_docker import OursDocker
from lab.operations.slow_proof import prove_slow, prove_slow_in_docker
from lab.operations.stock import StockNative
from lab.operations.stock_docker import StockDocker
from lab.operations.table import Measured, broken, compared, publish, table
from lab.operations.target import ContainerTarget, Target
from lab.settings import switch

UPSTREAM = ROOT / "nginx/upstream.conf"
NO_ENGINE = "Docker: no engine answers, so only the stack without Docker was measured"
DISTURBED = "its workers are restarted, scaled, killed and frozen, then its list is put back"
SHORT = ("SIGKILL", "scale app", "recreate")  # with QUICK=1; the rest is tested in tests/compose
STOCK_LOST_NOTHING = "the stock stack lost nothing, so this run could not have seen a loss"
T = TypeVar("T", bound=Target)


def prove(environ: Mapping[str, str]) -> int:
    """Operates on the running stack of this folder, or on stacks of its own: with Docker too, where an engine answers.

    0 when ours lost no more than promised and no session was wrong, and the stock stacks did lose some.
    Fifteen minutes, or four with QUICK=1.

    STACK=native or STACK=docker measures only that one; WRITE=1 puts the tables into the documentation.
    """
    quick, write = switch(environ, "QUICK"), switch(environ, "WRITE")
    running = find_stack(environ)
    kind = environ.get("STACK", "") or _kind_of(running)
    docker = kind != "native" and engine_answers()
    if kind == "docker" and not docker:
        raise Refused("no Docker engine answers")
    if running is not None:
        print(f"using {running.name}: {DISTURBED}", flush=True)
    print(f"{RATE:g} requests a second, half of them POST, from {SESSIONS} sessions", flush=True)
    problems = [] if kind == "docker" else _native(environ, running, quick=quick, write=write)
    if docker:
        problems += _docker(running, quick=quick, write=write)
    elif kind != "native":
        print(NO_ENGINE)
    print(
        "\n".join(problems)
        or "PASS: nothing was lost beyond what is promised, and stock settings do lose"
    )
    return 1 if problems else 0


def _kind_of(running: Stack | None) -> str:
    if running is None:
        return ""
    return "native" if isinstance(running, NativeStack) else "docker"


def _native(
    environ: Mapping[str, str], running: Stack | None, *, quick: bool, write: bool
) -> list[str]:
    work = operations(quick=quick)
    with our_native(environ, running) as site:
        ours = asyncio.run(measure("ours", OursNative(site), work))
    with scratch_stack(UPSTREAM, environ) as stack:
        stock = asyncio.run(measure("stock", StockNative(stack), work))
    slow = prove_slow(environ, quick=quick, write=write)
    return [*_report("proof-operations", work, ours, stock, write=write), *slow]


@contextmanager
def our_native(environ: Mapping[str, str], running: Stack | None) -> Iterator[NativeSite]:
    """The running stack, to be operated on, or one that runs while the block does."""
    if not isinstance(running, NativeStack):
        with scratch_stack(UPSTREAM, environ) as stack:
            yield stack
        return
    with _given_back(running):
        yield running.site()


@contextmanager
def _given_back(running: Stack) -> Iterator[None]:
    """Its list of workers is afterwards what it was before."""
    before = running.upstream_conf.read_bytes()
    try:
        yield
    finally:
        running.upstream_conf.write_bytes(before)
        apply(running)


def _docker(running: Stack | None, *, quick: bool, write: bool) -> list[str]:
    work: list[Operation[ContainerTarget]] = [*operations(quick=quick), *container_operations()]
    rate = RATE
    if quick:
        work = [operation for operation in work if operation.name.startswith(SHORT)]
        rate = RATE / 2  # twelve workers start on whatever machine this is
        print(f"in Docker {rate:g} requests a second", flush=True)
    with _ours_in_docker(running) as stack:
        ours = asyncio.run(measure("ours in Docker", OursDocker(stack), work, rate))
    with compose_stack() as stack:
        stock = asyncio.run(measure("stock in Docker", StockDocker(stack), work, rate))
    slow = prove_slow_in_docker(quick=quick, write=write)
    return [*_report("proof-operations-docker", work, ours, stock, write=write), *slow]


@contextmanager
def _ours_in_docker(running: Stack | None) -> Iterator[ComposeScratch]:
    if running is None or isinstance(running, NativeStack):
        with compose_stack() as stack:
            yield stack
        return
    with _given_back(running):
        yield ComposeScratch(running.url, ROOT, {**os.environ, "STACK": "docker"})


def _report(
    place: str,
    work: Sequence[Operation[T]],
    ours: Sequence[Measured],
    stock: Sequence[Measured],
    *,
    write: bool,
) -> list[str]:
    """Print the table, with `write` also into docs/; returns what does not hold."""
    rows = compared(work, ours, stock)
    publish(place, table(rows), write=write)
    blind = not any(row.stock.lost for row in rows)
    return [*broken(rows), *[STOCK_LOST_NOTHING] * blind]
