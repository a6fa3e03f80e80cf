"""What is asked of every policy: five kinds of traffic, each a seeded plan of open arrivals.

The same seed gives the same users the same requests at the same moments, whatever the policy.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.open_load import Arrival
from lab.visitors import READ, VISIT, Request
from loadtest.check.op import Kind
from loadtest.load.arrivals import due_times

USERS = 60
HOG = 0
SLOW_SECONDS = 0.2
SLOW_SHARE = 0.05
PAGE_REQUESTS = 6
HOG_RATE = 3.5  # blocking calls a second: 70 % of one worker
READ_SHARE = 0.5  # of the fast requests; the others write
WAIT = Request(Kind.SLOW, "GET", f"/slow?ms={SLOW_SECONDS * 1000:.0f}&kind=wait")
BLOCK = Request(Kind.SLOW, "GET", f"/slow?ms={SLOW_SECONDS * 1000:.0f}&kind=block")


def is_fast(request: Request) -> bool:
    """Whether its latency is compared."""
    return request in (READ, VISIT)


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of traffic."""

    name: str
    title: str
    weight: float  # its share of the time, by how much its latencies scatter
    one_network: bool  # all users behind one address
    arrivals: Callable[[random.Random, str], Iterator[Arrival]]

    def plan(self, seconds: float, seed: str) -> list[Arrival]:
        """The arrivals of one run, in the order they are due."""
        name = f"{self.name} {seed}"
        found = []
        for arrival in self.arrivals(random.Random(name), name):
            if arrival.at >= seconds:
                break
            found.append(arrival)
        return found

    def addresses(self) -> list[str]:
        """The forwarded address of every user, of the range RFC 2544 keeps for benchmarks.

        nginx's ip_hash looks at the first three octets, so each user has a /24 of his own.
        """
        if self.one_network:
            return ["198.19.255.7"] * USERS
        networks = random.Random("networks").sample(range(510), USERS)
        return [f"198.{18 + n // 255}.{n % 255}.7" for n in networks]


def _independent(
    rate: float, slow: Request, share: float = SLOW_SHARE, reads: float = READ_SHARE
) -> Callable[[random.Random, str], Iterator[Arrival]]:
    """Requests that have nothing to do with each other, some of them slow."""

    def arrivals(rng: random.Random, seed: str) -> Iterator[Arrival]:
        for at in due_times(rate, _number(seed)):
            user = rng.randrange(USERS)
            yield Arrival(at, user, slow if rng.random() < share else _fast(rng, reads))

    return arrivals


def _pages(rng: random.Random, seed: str) -> Iterator[Arrival]:
    """A user opens a page: six requests at once, as a browser does."""
    for at in due_times(120 / PAGE_REQUESTS, _number(seed)):
        user = rng.randrange(USERS)
        for _ in range(PAGE_REQUESTS):
            slow = rng.random() < SLOW_SHARE
            yield Arrival(at, user, BLOCK if slow else _fast(rng))


def _hog(rng: random.Random, seed: str) -> Iterator[Arrival]:
    """One user whose every call blocks, among others whose calls are all fast."""
    rate = 120.0
    for at in due_times(rate, _number(seed)):
        if rng.random() < HOG_RATE / rate:
            yield Arrival(at, HOG, BLOCK)
        else:
            yield Arrival(at, rng.randrange(1, USERS), _fast(rng))


def _fast(rng: random.Random, reads: float = READ_SHARE) -> Request:
    return READ if rng.random() < reads else VISIT


def _number(seed: str) -> int:
    return random.Random(seed).getrandbits(32)


WORKLOADS = (
    Workload("awaited", "slow calls awaited", 0.6, False, _independent(150, WAIT)),
    Workload("blocking", "slow calls block", 1.1, False, _independent(120, BLOCK)),
    Workload("pages", "pages of six, slow calls block", 1.5, False, _pages),
    Workload("hog", "one hog, others light", 1.0, False, _hog),
    Workload(
        "nat", "all behind one address, slow calls block", 0.8, True, _independent(120, BLOCK)
    ),
)

# With one worker failing, the other three are kept busy; no writes, as a 500 would leave them open.
TRAP = Workload(
    "trap", "one worker answers 500 at once", 1.0, False, _independent(120, BLOCK, 0.1, 1.0)
)
