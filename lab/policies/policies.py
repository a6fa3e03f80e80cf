"""The policies under comparison, and what is known about why they behave as they do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.policies.queueing import Chooser, least_conn, random_two, round_robin

BASE = "round_robin"
AGAIN = "round_robin_again"


@dataclass(frozen=True, slots=True)
class Policy:
    """`name` is what an address is given for; `line` is what stands in nginx/upstream.conf."""

    name: str
    title: str
    line: str
    colour: str
    model: Callable[[int], Chooser] | None  # None: users are pinned, to where they were seen


POLICIES = (
    Policy(BASE, "round robin", "", "#1f63b0", round_robin),
    Policy(AGAIN, "round robin again", "", "#7ba6d6", round_robin),
    Policy("least_conn", "least_conn", "least_conn;", "#1d7a41", least_conn),
    Policy("random_two", "random two", "random two least_conn;", "#7d43a8", random_two),
    Policy("ip_hash", "ip_hash", "ip_hash;", "#b3174a", None),
    Policy("sticky_cookie", "sticky cookie", "hash $cookie_sid consistent;", "#b04a06", None),
)
BY_NAME: Mapping[str, Policy] = {policy.name: policy for policy in POLICIES}
