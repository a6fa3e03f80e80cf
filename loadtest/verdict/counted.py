"""Everything that a verdict depends on, as plain counts."""

from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Features:
    """The endpoints that a stack may have; without one, its scenarios are left out."""

    slow: bool = True  # GET /slow
    data: bool = True  # /api/data/<key>
    devices: bool = True  # /api/devices and /devices/...

    @property
    def missing(self) -> list[str]:
        """The names of those that are not there."""
        return [field.name for field in fields(self) if not getattr(self, field.name)]


@dataclass(slots=True)
class Counted:
    """Everything the verdict depends on. A fresh one has counted nothing, and proves nothing."""

    requests: int = 0  # all that were sent
    answered: int = 0
    failed: int = 0
    unknown: int = 0
    conflicts: int = 0  # adds that others overtook each time, and that said so
    failures: dict[str, int] = field(default_factory=dict)
    sessions: int = 0
    kinds_ok: dict[str, int] = field(default_factory=dict)  # by kind that was meant to happen
    violations: dict[str, int] = field(default_factory=dict)  # by invariant, offline
    checkers_agree: bool = True
    lost_processes: int = 0  # of the generator; what they saw is missing
    pairs: int = 0  # reads after an acknowledged write
    crossed: int = 0  # of these, answered by another worker
    overlaps: int = 0
    workers: int = 0
    expected_workers: int | None = None
    policy: str = "round_robin"
    ratio: float = 0.0  # busiest by quietest worker, each by its weight
    difference: int = 0
    hops: int = 0  # consecutive requests of one session
    hop_ratio: float = 0.0  # of these, answered by another worker
    chance_hops: float = 0.0  # the same if chance chose the workers by their weights
    unnamed: int = 0
    cookies_withheld: int = 0  # requests that went out without the session cookie
    arrivals: int = 0
    dropped: int = 0
    cpu_share: float = 0.0
    slowest_p99: tuple[str, float] | None = None  # kind of request, milliseconds
    harness_errors: list[str] = field(default_factory=list)
