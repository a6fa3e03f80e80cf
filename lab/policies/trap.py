"""The known trap of least_conn: a worker that fails at once always looks idle, and draws traffic.

One worker of four is replaced by one that answers 500 without doing anything. What share of all
requests ends there?
"""

from dataclasses import dataclass

from lab.open_load import Driver
from lab.policies.workloads import TRAP
from loadtest.check.op import Outcome

TITLES = {
    "failing_round_robin": "round robin",
    "failing_least_conn": "least_conn",
    "failing_retried": "least_conn, http_500 retried",
}


@dataclass(frozen=True, slots=True)
class Trapped:
    """What became of the requests of one policy with the failing worker among its four."""

    policy: str
    asked: int
    failed: int

    @property
    def share(self) -> float:
        return self.failed / self.asked if self.asked else 0.0


async def spring(driver: Driver, policy: str, url: str, seconds: float, seed: str) -> Trapped:
    """Measure one policy; every policy gets the same arrivals."""
    plan = TRAP.plan(seconds, seed)
    sent = await driver.run(plan, url, TRAP.addresses())
    asked = [op for op in sent.ops if op is not None]
    return Trapped(policy, len(asked), sum(op.outcome is not Outcome.OK for op in asked))
