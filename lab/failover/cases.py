"""The failures: each breaks the store once, and says when it began and when another server was the master."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lab.failover.two_hosts import Divided
from lab.testbed.hop import LossyHop
from lab.testbed.replicated import Replicated, Sentinel
from lab.testbed.servers import ClusterOfThree, RedisServer, wait_until

DOWN_AFTER_MS = 2000
PAUSED_SECONDS = 4.0  # at least; longer than DOWN_AFTER_MS, and until another is the master
PROMOTION_SECONDS = 15.0
DIVIDED_SECONDS = 6.0  # in all


class VoteFailed(Exception):
    """The Sentinels elected none of them: what was to be measured did not happen."""


@dataclass(frozen=True)
class Moments:
    """Seconds of time.monotonic()."""

    began: float
    promoted: float


@dataclass(frozen=True)
class Case:
    """`run` returns when another server is the master; `mend` makes the store whole again."""

    name: str
    run: Callable[[], Moments]
    most_seconds: float  # without service
    mend: Callable[[], None] = lambda: None


def sentinel_cases(place: Replicated) -> list[Case]:
    """Of a master, two replicas and three Sentinels."""
    broken: list[RedisServer] = []

    def planned() -> Moments:
        return _until_promoted(place, lambda old: place.fail_over())

    def killed() -> Moments:
        broken.append(place.master)
        return _until_promoted(place, RedisServer.stop)

    def restart() -> None:
        broken.pop().start()  # as a master; Sentinel makes it a replica

    def paused() -> Moments:
        broken.append(place.master)
        moments = _until_promoted(place, RedisServer.freeze)
        time.sleep(max(0.0, moments.began + PAUSED_SECONDS - time.monotonic()))
        broken.pop().thaw()
        return moments

    return [
        Case("planned failover", planned, 2.0),
        Case("the master is paused, and comes back as a stale one", paused, 5.0),
        Case("the master is killed", killed, 4.0, restart),
    ]


def cluster_case(cluster: ClusterOfThree) -> Case:
    """The first primary of a cluster is killed; one of its replicas takes over."""

    def killed() -> Moments:
        began = time.monotonic()
        cluster.nodes[0].stop()
        wait_until(
            lambda: any(node.admin.role()[0] == b"master" for node in cluster.spare),
            seconds=PROMOTION_SECONDS,
            what="a new primary",
        )
        return Moments(began, time.monotonic())

    return Case("a primary of a cluster is killed", killed, 6.0)


def partition(place: Divided) -> Case:
    """The master is cut off with one Sentinel and half of the workers, until it has been replaced; then all is mended."""

    def divided() -> Moments:
        began = time.monotonic()
        place.divide()
        with votes_of(place.sentinels):
            wait_until(place.promoted, seconds=PROMOTION_SECONDS, what="another master")
        moments = Moments(began, time.monotonic())
        time.sleep(max(0.0, began + DIVIDED_SECONDS - time.monotonic()))
        place.reunite()
        wait_until(
            lambda: place.old.admin.role()[0] == b"slave", seconds=30, what="a demoted old master"
        )
        return moments

    return Case("the master is cut off with a minority of clients", divided, 5.0)


def moving_address(old: RedisServer, new: RedisServer, hop: LossyHop) -> Case:
    """One server behind an address that moves to its replica; connections that stand are left alone."""

    def moved() -> Moments:
        began = time.monotonic()
        new.admin.replicaof("NO", "ONE")
        hop.lead_to(new.port)
        old.admin.replicaof("127.0.0.1", new.port)
        return Moments(began, time.monotonic())

    return Case("the address moves to a replica", moved, 2.0)


def _until_promoted(place: Replicated, break_: Callable[[RedisServer], object]) -> Moments:
    old = place.master
    began = time.monotonic()
    break_(old)
    with votes_of(place.sentinels):
        place.wait_for_another(old, seconds=PROMOTION_SECONDS)
    return Moments(began, time.monotonic())


@contextmanager
def votes_of(sentinels: Sequence[Sentinel]) -> Iterator[None]:
    """VoteFailed instead of the error of a wait that has ended because they elected nobody."""
    try:
        yield
    except AssertionError:
        if any(sentinel.vote_failed for sentinel in sentinels):
            raise VoteFailed from None
        raise
