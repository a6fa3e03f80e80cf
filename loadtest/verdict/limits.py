"""The limits of slo.toml as a value."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

SLO_FILE = Path(__file__).parents[1] / "slo.toml"


@dataclass(frozen=True, slots=True)
class Slo:
    """Service levels."""

    failed_share: float
    unknown_share: float
    p99_milliseconds: float


@dataclass(frozen=True, slots=True)
class SpreadLimits:
    """How even plain round robin has to be."""

    ratio: float
    difference: int
    hop_share: float
    hops: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What a run must contain before its silence means anything."""

    requests: int
    crossed_pairs: int
    overlaps: int
    dropped_share: float
    cpu_share: float


@dataclass(frozen=True, slots=True)
class Limits:
    """All of slo.toml."""

    slo: Slo
    spread: SpreadLimits
    proof: Proof


def load_limits(path: Path = SLO_FILE) -> Limits:
    """Read the file. TypeError names a missing or unknown limit, KeyError a missing section."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return Limits(Slo(**tables["slo"]), SpreadLimits(**tables["spread"]), Proof(**tables["proof"]))
