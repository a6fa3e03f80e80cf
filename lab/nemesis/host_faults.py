"""Faults of whole hosts, and of the network between them."""

from __future__ import annotations

from glob import glob
from pathlib import Path
from random import Random

from lab.hosts.topology import Hosts, Place
from lab.nemesis.faults import Fault, Hurt, both, kill_worker
from lab.nemesis.several_hosts import operate
from lab.nemesis.stage import Stage

FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
CLOCK = "LD_PRELOAD={}\nFAKETIME=+1h\nFAKETIME_DONT_FAKE_MONOTONIC=1\n"
FAKED = "libfaketime"
HOSTS = ("hosts",)


def lose_worker_host(stage: Stage, random: Random) -> Hurt:
    return _lose(_hosts(stage), random.randrange(3), "worker")


def lose_edge(stage: Stage, random: Random) -> Hurt:
    return _lose(_hosts(stage), random.randrange(2), "edge")


def freeze_worker_host(stage: Stage, random: Random) -> Hurt:
    """Every process of it, the supervisor and the watchdog among them."""
    machine = random.choice(_hosts(stage).workers)
    machine.freeze()
    return Hurt(machine.name, machine.thaw)


def freeze_edge(stage: Stage, random: Random) -> Hurt:
    machine = random.choice(_hosts(stage).edges)
    machine.freeze()
    return Hurt(machine.name, machine.thaw)


def lose_store_host(stage: Stage, random: Random) -> Hurt:
    """The master's, with its Sentinel: from one moment to the next nothing comes from there."""
    hosts = _hosts(stage)
    store = hosts.master()
    hosts.cut(store)
    return Hurt(store.name, hosts.heal)


def split_brain(stage: Stage, random: Random) -> Hurt:
    """The master, its Sentinel and a third of the workers on one side; visitors reach both."""
    hosts = _hosts(stage)
    master, few = hosts.master(), random.choice(hosts.workers)
    every: list[Place] = [*hosts.stores, *hosts.workers]
    others = [one for one in every if one not in (master, few)]
    hosts.partition([master, few], others)
    return Hurt(f"{master.name} and {few.name}", hosts.heal)


def cut_from_store(stage: Stage, random: Random) -> Hurt:
    hosts = _hosts(stage)
    machine = random.choice(hosts.workers)
    hosts.partition([machine], hosts.stores)
    return Hurt(machine.name, hosts.heal)


def cut_from_edges(stage: Stage, random: Random) -> Hurt:
    hosts = _hosts(stage)
    machine = random.choice(hosts.workers)
    hosts.partition([machine], hosts.edges)
    return Hurt(machine.name, hosts.heal)


def cut_one_way(stage: Stage, random: Random) -> Hurt:
    """What is sent one way does not arrive; the other way all does."""
    hosts = _hosts(stage)
    machine = random.choice(hosts.workers)
    others: list[Place] = list(random.choice((hosts.stores, hosts.edges)))
    kind = others[0].name.partition("-")[0]
    if random.random() < 0.5:
        hosts.one_way([machine], others)
        return Hurt(f"from {machine.name} to each {kind}", hosts.heal)
    hosts.one_way(others, [machine])
    return Hurt(f"from each {kind} to {machine.name}", hosts.heal)


def set_clock(stage: Stage, random: Random) -> Hurt:
    """Its workers are restarted with a clock that is an hour ahead; intervals are right."""
    machine = random.choice(_hosts(stage).workers)
    file = Path(machine.environ["ENV_FILE"])
    before = file.read_text()

    def restart_with(text: str) -> None:
        file.write_text(text)
        operate(machine, "rolling-restart")

    restart_with(before + CLOCK.format(glob(FAKETIME)[0]))
    for name, pid in machine.pids().items():
        assert FAKED in Path(f"/proc/{pid}/maps").read_text(), f"{name} has the right time"
    return Hurt(machine.name, lambda: restart_with(before))


HOST_FAULTS = (
    Fault("worker host lost", lose_worker_host, 4, 18, needs=HOSTS),
    Fault("worker host frozen", freeze_worker_host, 5, 16, needs=HOSTS),
    Fault("edge lost", lose_edge, 4, 18, needs=HOSTS),
    Fault("edge frozen", freeze_edge, 4, 14, needs=HOSTS),
    Fault("store host lost", lose_store_host, 8, 28, failover=True, needs=HOSTS),
    Fault("split brain", split_brain, 8, 28, failover=True, needs=HOSTS),
    Fault("worker host cut off from the store", cut_from_store, 5, 16, needs=HOSTS),
    Fault("worker host cut off from the edges", cut_from_edges, 5, 16, needs=HOSTS),
    Fault("network cut in one direction", cut_one_way, 5, 16, needs=HOSTS),
    Fault("clock one hour ahead", set_clock, 4, 30, needs=("hosts", "faketime")),
    Fault("split brain and worker killed", both(split_brain, kill_worker), 8, 30, failover=True, needs=HOSTS),
)  # fmt: skip


def has_faketime() -> bool:
    """Whether libfaketime is installed."""
    return bool(glob(FAKETIME))


def _hosts(stage: Stage) -> Hosts:
    assert stage.hosts is not None
    return stage.hosts


def _lose(hosts: Hosts, number: int, kind: str) -> Hurt:
    """A power cut: its processes are gone, and nothing is refused, as nobody is there to refuse it."""
    machine = hosts.workers[number] if kind == "worker" else hosts.edges[number]
    hosts.cut(machine)
    machine.lose_power()

    def undo() -> None:
        hosts.heal()
        machine.start()

    return Hurt(machine.name, undo)
