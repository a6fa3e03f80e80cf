"""The faults: what each does to the stack, and how that is undone."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from deploy.refused import Refused
from lab.nemesis.processes import ignores, kill, send
from lab.nemesis.stage import Stage, Undo
from lab.testbed.servers import wait_until

PROMOTION_SECONDS = 45.0  # a vote that fails is held again after 20
SMALL_MEMORY = 1  # bytes: whatever is there already is too much


@dataclass(frozen=True)
class Hurt:
    """A fault that has happened: to what, in words, and how it ends."""

    what: str
    undo: Undo = lambda: None


@dataclass(frozen=True)
class Fault:
    """One kind.

    `seconds` it lasts before it is undone; `takes` is how long it takes in all, with the time until the stack
    is whole, for the schedule.  A `failover` may lose what no replica has acknowledged.  `needs` is what not
    every machine has: hosts, or faketime.
    """

    name: str
    hurt: Callable[[Stage, Random], Hurt]
    seconds: float
    takes: float
    failover: bool = False
    needs: tuple[str, ...] = ()


def kill_worker(stage: Stage, random: Random) -> Hurt:
    """SIGKILL; the supervisor starts it again."""
    name, pid = _one(stage, random)
    kill([pid])
    return Hurt(name)


def pause_worker(stage: Stage, random: Random) -> Hurt:
    """SIGSTOP: its port still takes connections, and nobody answers."""
    name, pid = _one(stage, random)
    return _paused(name, [pid])


def kill_workers(stage: Stage, random: Random) -> Hurt:
    """All at once: for a moment there is nobody to ask."""
    pids = stage.workers().values()
    kill(pids)
    return Hurt(f"all {len(pids)}")


def kill_nginx_process(stage: Stage, random: Random) -> Hurt:
    """One that serves requests, not the master, which starts another."""
    edge = random.randrange(len(stage.edges))
    pid = random.choice(stage.nginx(edge)[1:])
    kill([pid])
    return Hurt(f"of edge {edge + 1}")


def pause_nginx_process(stage: Stage, random: Random) -> Hurt:
    """One of several: connections that it holds stand still, others take the new ones."""
    edge = random.randrange(len(stage.edges))
    return _paused(f"of edge {edge + 1}", [random.choice(stage.nginx(edge)[1:])])


def kill_nginx_master(stage: Stage, random: Random) -> Hurt:
    """Of the edge that a supervisor keeps running; the processes that it leaves behind hold its ports."""
    kill(stage.nginx(0)[:1])
    return Hurt("of edge 1")


def pause_edge(stage: Stage, random: Random) -> Hurt:
    """All of an edge's nginx stand still."""
    edge = random.randrange(len(stage.edges))
    return _paused(f"edge {edge + 1}", stage.nginx(edge))


def restart(stage: Stage, random: Random) -> Hurt:
    stage.restart()
    return Hurt("every worker, one after the other")


def reload(stage: Stage, random: Random) -> Hurt:
    for _ in range(3):
        stage.reload()
    return Hurt("three times")


def scale(stage: Stage, random: Random) -> Hurt:
    before = len(stage.workers())
    undo = stage.scale()
    return Hurt(f"{before} to {before + 1} and back", undo)


def pause_master(stage: Stage, random: Random) -> Hurt:
    """SIGSTOP for longer than the Sentinels wait: another is promoted, and the old one wakes up as a stale master."""
    name = stage.store.master()
    return _paused(name, [_pid(stage, name)])


def wake_stale_master(stage: Stage, random: Random) -> Hurt:
    """SIGSTOP until another has been promoted; then it wakes up, and does not know."""
    name = stage.store.master()
    hurt = _paused(name, [_pid(stage, name)])
    wait_until(
        lambda: stage.store.master() != name, seconds=PROMOTION_SECONDS, what="another master"
    )
    return hurt


def pause_replicas(stage: Stage, random: Random) -> Hurt:
    """SIGSTOP of all but the master, which goes on alone: what it writes is acknowledged by nobody."""
    master = stage.store.master()
    others = [name for name in stage.store.servers if name != master]
    return _paused(f"all but {master}", [_pid(stage, name) for name in others])


def kill_master(stage: Stage, random: Random) -> Hurt:
    """SIGKILL; the supervisor starts it again, before the Sentinels miss it or not."""
    name = stage.store.master()
    stage.store.processes.crash(name)
    return Hurt(name)


def lose_master(stage: Stage, random: Random) -> Hurt:
    """SIGKILL, and it stays away until another is the master."""
    store = stage.store
    name = store.master()
    store.processes.keep_down(name)
    wait_until(lambda: store.master() != name, seconds=PROMOTION_SECONDS, what="another master")
    return Hurt(name, lambda: store.processes.start(name))


def fail_over(stage: Stage, random: Random) -> Hurt:
    store = stage.store
    name = store.master()
    store.fail_over()
    wait_until(lambda: store.master() != name, seconds=PROMOTION_SECONDS, what="another master")
    return Hurt(f"away from {name}")


def fill_memory(stage: Stage, random: Random) -> Hurt:
    """maxmemory is below what is used, and nothing is evicted: Redis refuses what needs memory."""
    name = stage.store.master()
    server = stage.store.servers[name]
    before = server.config_get("maxmemory")["maxmemory"] or "0"
    server.config_set("maxmemory", SMALL_MEMORY)
    return Hurt(name, lambda: _set_memory(stage, name, before))


def fill_disk(stage: Stage, random: Random) -> Hurt:
    """No file of it may grow: the append-only file cannot be written, as on a full disk."""
    name = stage.store.master()
    pid = _pid(stage, name)
    if not ignores(pid, signal.SIGXFSZ):
        raise Refused(f"{name} would be killed by a limit of its files")
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))

    def undo() -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    return Hurt(name, undo)


def flush_scripts(stage: Stage, random: Random) -> Hurt:
    """Redis forgets the scripts that workers call by their hash."""
    name = stage.store.master()
    stage.store.servers[name].script_flush()
    return Hurt(name)


def both(
    one: Callable[[Stage, Random], Hurt], other: Callable[[Stage, Random], Hurt]
) -> Callable[[Stage, Random], Hurt]:
    """The two at the same time."""

    def hurt(stage: Stage, random: Random) -> Hurt:
        first, second = one(stage, random), other(stage, random)

        def undo() -> None:
            second.undo()
            first.undo()

        return Hurt(f"{first.what}, {second.what}", undo)

    return hurt


FAULTS = (
    Fault("worker killed", kill_worker, 0, 12),
    Fault("worker paused", pause_worker, 5, 16),
    Fault("all workers killed", kill_workers, 0, 14),
    Fault("nginx process killed", kill_nginx_process, 0, 10),
    Fault("nginx process paused", pause_nginx_process, 3, 13),
    Fault("nginx master killed", kill_nginx_master, 0, 14),
    Fault("edge paused", pause_edge, 4, 14),
    Fault("rolling restart", restart, 0, 28),
    Fault("reload", reload, 0, 16),
    Fault("scale", scale, 2, 18),
    Fault("redis paused", pause_master, 3, 24, failover=True),
    Fault("stale master", wake_stale_master, 1, 22, failover=True),
    Fault("replicas paused", pause_replicas, 2, 14),
    Fault("redis killed", kill_master, 0, 12, failover=True),
    Fault("redis memory full", fill_memory, 4, 14),
    Fault("redis disk full", fill_disk, 4, 22),
    Fault("redis scripts flushed", flush_scripts, 0, 10),
    Fault("master killed", lose_master, 1, 24, failover=True),
    Fault("planned failover", fail_over, 0, 20, failover=True),
    Fault("master and worker killed", both(lose_master, kill_worker), 1, 24, failover=True),
    Fault("worker paused during a failover", both(pause_worker, fail_over), 2, 20, failover=True),
)


def _one(stage: Stage, random: Random) -> tuple[str, int]:
    return random.choice(sorted(stage.workers().items()))


def _pid(stage: Stage, name: str) -> int:
    pid = stage.store.processes.pid(name)
    assert pid is not None, f"{name} does not run"
    return pid


def _paused(what: str, pids: Iterable[int]) -> Hurt:
    stopped = list(pids)
    send(signal.SIGSTOP, stopped)
    return Hurt(what, lambda: send(signal.SIGCONT, stopped))


def _set_memory(stage: Stage, name: str, value: str) -> None:
    stage.store.servers[name].config_set("maxmemory", value)
