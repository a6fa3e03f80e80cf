"""`make proof-failover`: each failure under load, for writes that wait for a replica and for writes that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.failover.cases import (
    DOWN_AFTER_MS,
    Case,
    VoteFailed,
    cluster_case,
    moving_address,
    partition,
    sentinel_cases,
)
from lab.failover.traffic import Loss, Traffic
from lab.failover.two_hosts import HOSTS, Divided, HostWorker
from lab.hosts.network import Network, why_not
from lab.measurements import write_block
from lab.settings import switch
from lab.table import as_markdown
from lab.testbed.hop import LossyHop
from lab.testbed.replicated import Replicated, Watched
from lab.testbed.servers import ClusterOfThree, Place, RedisServer
from lab.testbed.workers import Worker

WORKERS = 2  # of each setting
BEFORE_SECONDS, AFTER_SECONDS = 1.5, 2.5
SERVED_SECONDS = 1.0  # after the promotion
PATIENCE = 3
CONTROL = "the connection is kept"
# As deploy/redis/replica.conf has it.
OPTIONS = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "3")
HEADER = (
    *("what happens", "replicas that acknowledge"),
    *("seconds without service", "after the promotion"),
    *("acknowledged writes lost", "sessions logged out", "logouts revived"),
)


@dataclass(frozen=True)
class Row:
    """`setting` is SESSION_WRITES_ACKNOWLEDGED_BY, or the name of the control."""

    case: Case
    setting: str
    loss: Loss
    others_failed: int = 0  # reads of sessions whose primary lived

    def cells(self) -> tuple[str, ...]:
        loss = self.loss
        seconds = (f"{loss.without_service:.1f}", f"{max(0, loss.after_promotion):.1f}")
        counts = (loss.lost_writes, loss.logged_out, loss.revived)
        return (self.case.name, self.setting, *seconds, *map(str, counts))


def prove(environ: Mapping[str, str]) -> int:
    """0 when every row is within its goals and the control is not.

    Three minutes; QUICK=1 does each failure once instead of three times, and gives everybody but the control
    PATIENCE times as long: one look on a busy machine is no measurement.  Losses are judged alike.
    WRITE=1 puts the table into the documentation.
    """
    quick = switch(environ, "QUICK")
    rounds = 1 if quick else 3
    rows: list[Row] = []
    for _ in range(rounds):
        for part in (_sentinels, _partition, _cluster, _moving):
            rows += _with_a_vote(part)
    rows = worst(rows)
    table = as_markdown(HEADER, [row.cells() for row in rows])
    print(f"\n{table}\n", flush=True)
    if switch(environ, "WRITE"):
        write_block("proof-failover", table)
    problems = judge(rows, PATIENCE if quick else 1)
    print("\n".join(problems) or "PASS: all within the goals, and the control is not")
    return 1 if problems else 0


def _with_a_vote(part: Callable[[Path], Coroutine[None, None, list[Row]]]) -> list[Row]:
    """The rows of `part`, which is done anew where the Sentinels elected nobody; twice in a row is an error."""
    try:
        return _in_a_folder(part)
    except VoteFailed:
        print("no Sentinel was elected, as may happen: once more", flush=True)
        return _in_a_folder(part)


def _in_a_folder(part: Callable[[Path], Coroutine[None, None, list[Row]]]) -> list[Row]:
    with TemporaryDirectory(prefix="failover-") as folder:
        return asyncio.run(part(Path(folder)))


def worst(rows: Sequence[Row]) -> list[Row]:
    """One row of each failure and setting, with the worst of every figure."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = row.case.name, row.setting
        before = found.get(key, row)
        pairs = zip(astuple(before.loss), astuple(row.loss), strict=True)
        failed = max(before.others_failed, row.others_failed)
        found[key] = replace(row, loss=Loss(*map(max, pairs)), others_failed=failed)
    return list(found.values())


def judge(rows: Sequence[Row], patience: float = 1) -> list[str]:
    """What is not as it must be, in sentences; times may be `patience` times as long."""
    judged = [row for row in rows if row.setting != CONTROL]
    found = [
        f"{row.case.name}, {row.setting}: {p}" for row in judged for p in problems_of(row, patience)
    ]
    controls = [row for row in rows if row.setting == CONTROL]
    if not controls or not all(map(problems_of, controls)):
        found.append("the control is within the goals, so this run could not have seen a fault")
    return found


def problems_of(row: Row, patience: float = 1) -> list[str]:
    """The goals that one row misses."""
    loss, found = row.loss, []
    if loss.without_service > row.case.most_seconds * patience:
        found.append(f"{loss.without_service:.1f} s without service")
    if loss.after_promotion > SERVED_SECONDS * patience:
        found.append(f"not served for {loss.after_promotion:.1f} s after the promotion")
    if loss.wrong_user:
        found.append(f"{loss.wrong_user} answers of another user")
    if row.others_failed:
        found.append(f"{row.others_failed} reads failed of sessions whose primary lived")
    if row.setting == "1":
        lost = (loss.lost_writes, loss.logged_out, loss.revived)
        words = ("acknowledged writes lost", "sessions logged out", "logouts revived")
        found += [f"{count} {what}" for count, what in zip(lost, words, strict=True) if count]
    return found


async def _sentinels(folder: Path) -> list[Row]:
    place = Replicated(folder, *OPTIONS, down_after_ms=DOWN_AFTER_MS)
    async with _under_load(place, _workers(folder, place.url, "0", "1")) as traffics:
        rows = []
        for case in sentinel_cases(place):
            rows += await _try(case, traffics)
            await asyncio.to_thread(case.mend)
        return rows


async def _cluster(folder: Path) -> list[Row]:
    cluster = ClusterOfThree(folder, replicas=2, node_timeout_ms=DOWN_AFTER_MS)
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in cluster.nodes)
    url = f"redis+cluster://{hosts}"
    async with _under_load(cluster, _workers(folder, url, "0", "1")) as traffics:
        keys = cluster.nodes[0].admin.scan_iter(match="user:*", count=1000)
        of_the_dead = {key.decode().partition("}:")[2] for key in keys}
        return await _try(cluster_case(cluster), traffics, of_the_dead)


async def _moving(folder: Path) -> list[Row]:
    server, replica = RedisServer(folder / "old"), RedisServer(folder / "new")
    with ExitStack() as running:
        running.callback(replica.stop)
        replica.start()
        hop = LossyHop(server.port)
        url = f"redis://127.0.0.1:{await hop.start()}"
        async with _under_load(server, _workers(folder, url, "0", CONTROL)) as traffics:
            await asyncio.to_thread(replica.follow, server)
            rows = await _try(moving_address(server, replica, hop), traffics)
        await hop.stop()
        return rows


async def _partition(folder: Path) -> list[Row]:
    if why_not():
        print("the partition needs root, ip and iptables: left out", flush=True)
        return []
    with Network(HOSTS) as network:
        place = Divided(network, folder, DOWN_AFTER_MS, *OPTIONS)
        workers = {
            setting: [
                HostWorker(host, folder, place.url, SESSION_WRITES_ACKNOWLEDGED_BY=setting)
                for host in place.hosts
            ]
            for setting in ("0", "1")
        }
        async with _under_load(place, workers) as traffics:
            return await _try(partition(place), traffics)


@asynccontextmanager
async def _under_load(
    place: Place | Watched, workers: Mapping[str, Sequence[Worker]]
) -> AsyncIterator[list[Traffic]]:
    """The store, workers by setting, and their visitors, while the block runs."""
    every = [worker for some in workers.values() for worker in some]
    with ExitStack() as running:
        running.callback(place.stop)
        await asyncio.to_thread(place.start)
        for worker in every:
            running.callback(worker.stop)
            worker.start()
        for worker in every:
            await asyncio.to_thread(worker.wait_ready)
        traffics = [
            Traffic(name, f"w{number}", [worker.url for worker in some])
            for number, (name, some) in enumerate(workers.items())
        ]
        try:
            for traffic in traffics:
                await traffic.begin()
            yield traffics
        finally:
            for traffic in traffics:
                await traffic.end()


def _workers(folder: Path, url: str, *settings: str) -> dict[str, list[Worker]]:
    return {name: [_worker(folder, url, name) for _ in range(WORKERS)] for name in settings}


def _worker(folder: Path, url: str, setting: str) -> Worker:
    kept = setting == CONTROL
    module = "lab.mutants.workers.connection_kept" if kept else "app"
    return Worker(folder, url, module, SESSION_WRITES_ACKNOWLEDGED_BY="0" if kept else setting)


async def _try(
    case: Case, traffics: Sequence[Traffic], of_the_dead: set[str] | None = None
) -> list[Row]:
    print(f"{case.name} …", end=" ", flush=True)
    await asyncio.gather(*(traffic.refill() for traffic in traffics))
    await asyncio.sleep(BEFORE_SECONDS)
    moments = await asyncio.to_thread(case.run)
    await asyncio.sleep(AFTER_SECONDS)
    rows = []
    for traffic in traffics:
        living = set() if of_the_dead is None else traffic.users - of_the_dead
        others = traffic.failed_reads(moments.began, living)
        loss = await traffic.loss(moments.began, moments.promoted, of_the_dead)
        rows.append(Row(case, traffic.name, loss, others))
    print(f"{moments.promoted - moments.began:.1f} s until another was promoted", flush=True)
    return rows
