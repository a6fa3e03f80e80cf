"""The verdict's last figure is true: a fault of that rate shows with 95 %, and a rarer one less often."""

from random import Random

import pytest

from loadtest.check.offline import check
from loadtest.check.op import Kind, Op
from loadtest.verdict.analysis import find_evidence
from loadtest.verdict.verdict import CERTAINTY
from tests.unit.loadtest.histories import LIMITS, Simulation, broken

RUNS = 400
SESSIONS, WRITES = 5, 12  # of one run


def run_that_loses(one_in: float, random: Random) -> list[Op]:
    """A history of a stack that acknowledges each write and loses one in so many; each is read afterwards."""
    world = Simulation()
    for session in map(str, range(SESSIONS)):
        world.do(Kind.LOGIN, session, cookie=f"cookie-{session}")
        for number in range(WRITES):
            world.do(Kind.VISIT, session, op=str((session, number)))
            world.count[session, None] -= random.random() < 1 / one_in
            world.do(Kind.READ, session)
    return world.ops


@pytest.mark.parametrize(("rarer", "least", "most"), [(1, 0.93, 0.98), (10, 0.15, 0.40)])
def test_power(rarer: int, least: float, most: float) -> None:
    """Of runs that meet a fault in one of the N writes they name, 95 % show it; ten times rarer, a quarter."""
    random = Random(1)
    writes = find_evidence(run_that_loses(10**9, random)).writes
    one_in = rarer * writes // CERTAINTY
    found = [broken(check(run_that_loses(one_in, random), LIMITS)) for _ in range(RUNS)]
    assert least <= sum(bool(names) for names in found) / RUNS <= most
