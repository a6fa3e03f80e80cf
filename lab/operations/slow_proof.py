"""The proof's rows on slow pages, hung workers and floods of logins, beside a control that loses requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.native.scratch import scratch_stack
from deploy.paths import ROOT
from lab.operations.compose import compose_stack
from lab.operations.measure import measure
from lab.operations.ours import OursNative
from lab.operations.ours_docker import OursDocker
from lab.operations.slow import FULL, QUICK, Size, settings, slow_operations, tighten
from lab.operations.stock_docker import reload_nginx
from lab.operations.table import Measured, broken, compared, publish, slow_table

UPSTREAM = ROOT / "nginx/upstream.conf"
RATE = 160.0  # requests a second beside what the rows do themselves
BEFORE = "before: 2 s, no watchdog"


def prove_slow(environ: Mapping[str, str], *, quick: bool, write: bool) -> list[str]:
    """What does not hold.  Always on stacks of its own: they have accounts, and the control is ruined."""
    size = QUICK if quick else FULL
    with (
        TemporaryDirectory() as folder,
        scratch_stack(UPSTREAM, environ, **settings(size, Path(folder), watched=True)) as stack,
    ):
        work = slow_operations(size, heals=True)
        ours = asyncio.run(measure("ours", OursNative(stack), work, RATE))
    with (
        TemporaryDirectory() as folder,
        scratch_stack(UPSTREAM, environ, **settings(size, Path(folder), watched=False)) as stack,
    ):
        tighten(stack.state / "nginx/conf/snippets/proxy.conf")
        target = OursNative(stack)
        target.reload_as_it_is()
        work = slow_operations(size, heals=False)
        before = asyncio.run(measure(BEFORE, target, work, RATE))
    return _report("proof-slow", ours, before, size, write=write)


def prove_slow_in_docker(*, quick: bool, write: bool) -> list[str]:
    """The same in Docker."""
    size = QUICK if quick else FULL
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # a container's user reads the accounts
        with compose_stack(**settings(size, Path(folder), watched=True)) as stack:
            work = slow_operations(size, heals=True)
            ours = asyncio.run(measure("ours in Docker", OursDocker(stack), work, RATE))
        with compose_stack(**settings(size, Path(folder), watched=False)) as stack:
            tighten(stack.nginx / "snippets/proxy.conf")
            reload_nginx(stack)
            work = slow_operations(size, heals=False)
            before = asyncio.run(measure(f"{BEFORE}, in Docker", OursDocker(stack), work, RATE))
    return _report("proof-slow-docker", ours, before, size, write=write)


def _report(
    place: str, ours: Sequence[Measured], before: Sequence[Measured], size: Size, *, write: bool
) -> list[str]:
    rows = compared(slow_operations(size, heals=True), ours, before)
    publish(place, slow_table(rows), write=write)
    blind = [row.operation for row in rows if row.stock.kept]
    return [*broken(rows), *(f"{name}: the control lost nothing" for name in blind)]
