"""The settings of one comparison: the environment that `make compare NAME=value` sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deploy.paths import ROOT
from lab.policies.policies import AGAIN, BASE, BY_NAME
from lab.policies.trap import TITLES as TRAPS
from lab.policies.workloads import WORKLOADS, Workload
from lab.settings import WrongSetting, number, switch, whole

RESULTS = ROOT / ".stack/compare"


@dataclass(frozen=True, slots=True)
class Settings:
    """What to compare and for how long.  Times are seconds; `seconds` is a run of weight 1."""

    addresses: Mapping[str, str]
    workloads: tuple[Workload, ...]
    rounds: int
    seconds: float
    warm_up: float
    seed: int
    password: str
    out: Path
    write: bool  # into docs/, too

    @property
    def fronts(self) -> dict[str, str]:
        """The address of each row of the table; round robin has two."""
        rows = {BASE: self.addresses[BASE], AGAIN: self.addresses[BASE], **self.addresses}
        return {name: url for name, url in rows.items() if name in BY_NAME}

    @property
    def traps(self) -> dict[str, str]:
        """The addresses behind which one worker fails."""
        return {name: url for name, url in self.addresses.items() if name in TRAPS}

    def length(self, workload: Workload) -> float:
        """The measured part of one run."""
        return self.seconds * workload.weight


def read_settings(environ: Mapping[str, str]) -> Settings:
    """WrongSetting names what is wrong."""
    quick = switch(environ, "QUICK")
    return Settings(
        addresses=_addresses(environ),
        workloads=_workloads(environ),
        rounds=whole(environ, "ROUNDS", 3 if quick else 4, 2, 50),
        seconds=number(environ, "RUN_SECONDS", 0.5 if quick else 2.3, 0.2, 60),
        warm_up=0.2 if quick else 0.4,
        seed=whole(environ, "SEED", 1, 0, 1 << 32),
        password=environ.get("DEMO_PASSWORD") or "demo",
        out=Path(environ.get("OUT") or RESULTS),
        write=switch(environ, "WRITE"),
    )


def _addresses(environ: Mapping[str, str]) -> dict[str, str]:
    """FRONTS lists `policy=address`; without it HOST alone is compared with itself."""
    text = environ.get("FRONTS") or f"{BASE}={environ.get('HOST') or 'http://127.0.0.1:8080'}"
    found: dict[str, str] = {}
    for word in text.split():
        name, _, url = word.partition("=")
        parts = urlsplit(url)
        if name not in (*BY_NAME, *TRAPS) or parts.scheme not in ("http", "https"):
            known = ", ".join(BY_NAME)
            raise WrongSetting(f"FRONTS: {word} is not policy=http://...; policies: {known}")
        found[name] = url.rstrip("/")
    if BASE not in found:
        raise WrongSetting(f"FRONTS: {BASE} is missing, and everything is compared with it")
    return found


def _workloads(environ: Mapping[str, str]) -> tuple[Workload, ...]:
    wanted = (environ.get("WORKLOADS") or " ".join(w.name for w in WORKLOADS)).split()
    known = {workload.name: workload for workload in WORKLOADS}
    wrong = [name for name in wanted if name not in known]
    if wrong:
        raise WrongSetting(f"WORKLOADS: {wrong[0]} is none of {', '.join(known)}")
    return tuple(known[name] for name in wanted)
