"""What a report says, as plain values: gathered from a finished run once, stored as report.json.

Pictures and page are made of these values alone, so the three never differ.
"""

import json
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Any, Self

from loadtest.check.op import Op
from loadtest.check.tally import describe
from loadtest.report.gates import gates_of
from loadtest.report.latencies import Curves
from loadtest.report.timeline import Timeline
from loadtest.report.violation import Violation, find_violation
from loadtest.settings import Settings
from loadtest.verdict.analysis import Analysis
from loadtest.verdict.limits import Limits
from loadtest.verdict.verdict import Verdict

LIBRARIES = ("locust", "gevent", "matplotlib")
NOT_SHOWN = {"demo_password", "parts", "report", "stack"}


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything in a report; JSON types only."""

    code: int
    sentence: str
    reasons: list[list[Any]]  # exit code and text
    gates: list[dict[str, Any]]
    ended: str  # UTC
    seconds: float
    requests: int
    workers: dict[str, int]  # requests by worker
    hops: list[list[int]]  # by worker, by worker of the session's next request; in the same order
    hop_ratio: float
    chance_hops: float  # what the hop ratio would be if chance chose the workers
    timeline: dict[str, Any]
    invariants: list[dict[str, Any]]
    violation: dict[str, Any] | None
    latencies: list[dict[str, Any]]  # rows of the table, milliseconds
    curves: dict[str, list[list[float]]]  # by name: share of requests, milliseconds
    cpu: dict[str, float]  # share of one core, by part
    settings: dict[str, Any]
    versions: dict[str, str]
    again: dict[str, str]  # commands

    @classmethod
    def read(cls, path: Path) -> Self:
        """The facts in a report.json. TypeError or ValueError: it is none."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Store them for machines, and for drawing the report once more."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def gather(
    settings: Settings,
    analysis: Analysis,
    verdict: Verdict,
    limits: Limits,
    ops: Iterable[Op],
    parts: Mapping[str, float],
) -> Facts:
    """The facts of one run. `ops` is its history, read through once; `parts` are CPU seconds."""
    counted, spread = analysis.counted, analysis.spread
    violation = Violation(find_violation(analysis.report))
    timeline, curves = Timeline(analysis.seconds), Curves()
    for op in ops:
        timeline.add(op)
        curves.add(op)
        violation.add(op)
    return Facts(
        code=int(verdict.code),
        sentence=verdict.sentence,
        reasons=[[int(code), text] for code, text in verdict.reasons],
        gates=gates_of(counted, verdict, limits),
        ended=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        seconds=analysis.seconds,
        requests=counted.requests,
        workers={name: spread.requests[name] for name in spread.workers},
        hops=[[spread.hops[one, two] for two in spread.workers] for one in spread.workers],
        hop_ratio=spread.hop_ratio,
        chance_hops=spread.chance_hops,
        timeline=timeline.values(),
        invariants=[
            {
                "name": str(name),
                "checked": tally.checked,
                "violations": tally.violations,
                "witness": [describe(op) for op in tally.witness],
            }
            for name, tally in analysis.report.tallies.items()
        ],
        violation=violation.values(),
        latencies=[{"name": name, **asdict(row)} for name, row in analysis.latencies.items()],
        curves=curves.values(),
        cpu=_shares(counted.cpu_share, parts, analysis.seconds),
        settings=_shown(settings),
        versions=_versions(settings),
        again=_again(settings),
    )


def _shares(generator: float, parts: Mapping[str, float], seconds: float) -> dict[str, float]:
    stack = {name: spent / seconds for name, spent in parts.items()} if seconds > 0 else {}
    return {"load generator": generator, **stack}


def _shown(settings: Settings) -> dict[str, Any]:
    return {
        name: value if isinstance(value, int | float | str | None) else _text(value)
        for name, value in asdict(settings).items()
        if name not in NOT_SHOWN
    }


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _versions(settings: Settings) -> dict[str, str]:
    system = {
        "stack": settings.stack or "unknown: it does not run natively here",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(cpu_count()),
        "Python": platform.python_version(),
    }
    return system | {name: version(name) for name in LIBRARIES}


def _again(settings: Settings) -> dict[str, str]:
    return {
        "the same load": f"make loadtest DURATION={settings.duration} USERS={settings.users}"
        f" RATE={settings.rate:g} SEED={settings.seed} PROCESSES={settings.processes}",
        "the stored history": f"python -m loadtest.check.offline {settings.history}",
        "this page": f"python -m loadtest.report {settings.out}",
    }
