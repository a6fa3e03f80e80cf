"""From what was measured to what is reported: cells, their simulated twins, and the differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.policies.cells import Cell, Latencies, Run, make_cell
from lab.policies.difference import Difference, compare, noise_of
from lab.policies.measure import Measured
from lab.policies.policies import AGAIN, BASE, BY_NAME
from lab.policies.queueing import pinned, simulate
from lab.policies.settings import Settings
from lab.policies.trap import Trapped
from lab.policies.workloads import Workload, is_fast

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row under a workload."""

    cell: Cell
    model: Latencies
    difference: Difference


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything about one workload."""

    workload: Workload
    noise: float
    entries: Mapping[str, Entry]  # by policy, in the order of the table


@dataclass(frozen=True, slots=True)
class Results:
    """The whole comparison."""

    outcomes: tuple[Outcome, ...]
    trapped: tuple[Trapped, ...]
    workers: tuple[str, ...]
    interrupted: bool


def results_of(measured: Measured, settings: Settings) -> Results:
    """Everything that can be said of what was measured; workloads without a whole round are left out."""
    served = {op.worker for run in measured.runs for op in run.ops if op and op.worker}
    workers = tuple(sorted(served))
    outcomes = []
    for workload in settings.workloads:
        runs = measured.whole(workload.name, len(settings.fronts))
        if runs:
            outcomes.append(_outcome(workload, runs, settings, workers, measured.fast_seconds))
    return Results(tuple(outcomes), tuple(measured.trapped), workers, measured.interrupted)


def _outcome(
    workload: Workload,
    runs: Sequence[Run],
    settings: Settings,
    workers: Sequence[str],
    fast_seconds: float,
) -> Outcome:
    by_policy = {name: [run for run in runs if run.policy == name] for name in settings.fronts}
    cells = {name: make_cell(own) for name, own in by_policy.items()}
    base, again = cells[BASE], cells[AGAIN]
    noise = math.nan if base.invalid or again.invalid else noise_of(base, again)
    entries = {
        name: Entry(
            cell,
            _simulated(cell, by_policy[name], workers, fast_seconds),
            compare(cell, base, again, noise),
        )
        for name, cell in cells.items()
    }
    return Outcome(workload, noise, entries)


def _simulated(
    cell: Cell, runs: Sequence[Run], workers: Sequence[str], fast_seconds: float
) -> Latencies:
    """Its simulated twin: the same arrivals, the same users on the same workers, the warm-up cut alike."""
    found: list[float] = []
    for run in runs:
        policy = BY_NAME[cell.policy].model or pinned(_pins(cell, workers))
        latencies = simulate(run.plan, len(workers), policy(len(workers)), fast_seconds)
        pairs = zip(run.plan, latencies, strict=True)
        found += [
            seconds * 1e3
            for arrival, seconds in pairs
            if is_fast(arrival.request) and arrival.at >= run.warm_up
        ]
    return Latencies(tuple(sorted(found)))


def _pins(cell: Cell, workers: Sequence[str]) -> dict[int, int]:
    """The worker that answered each user most."""
    number = {worker: index for index, worker in enumerate(workers)}
    return {
        user: number[max(answers, key=lambda worker: answers[worker])]
        for user, answers in cell.pins.items()
    }


def as_json(results: Results) -> dict[str, Any]:
    """The figures for machines."""
    return {
        "workloads": {
            outcome.workload.name: {
                "title": outcome.workload.title,
                "noise": _number(outcome.noise),
                "policies": {name: _entry(entry) for name, entry in outcome.entries.items()},
            }
            for outcome in results.outcomes
        },
        "trap": {
            trapped.policy: {"asked": trapped.asked, "failed": trapped.failed}
            for trapped in results.trapped
        },
        "workers": list(results.workers),
        "interrupted": results.interrupted,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    cell, difference = entry.cell, entry.difference
    measured = (
        {"mean": cell.mean, **{n: cell.at(s) for n, s in SHARES.items()}} if cell.latencies else {}
    )
    model = {"mean": entry.model.mean, **{n: entry.model.at(s) for n, s in SHARES.items()}}
    return {
        "fast_requests": len(cell.latencies),
        "milliseconds": {name: round(value, 3) for name, value in measured.items()},
        "simulated_milliseconds": {name: round(value, 3) for name, value in model.items()},
        "worst_user_p95": _number(cell.worst_user_p95),
        "users_hurt": round(cell.users_hurt, 3),
        "answers_by_worker": cell.shares,
        "generator": {
            "cpu_share": round(cell.cpu_share, 3),
            "late_p99_ms": round(cell.late_p99_ms, 3),
            "dropped": cell.dropped,
        },
        "failed": cell.failed,
        "invalid": list(cell.invalid),
        "against_round_robin": {
            "word": str(difference.word),
            "ratio": _number(difference.ratio),
            "low": _number(difference.low),
            "high": _number(difference.high),
        },
    }


def _number(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
