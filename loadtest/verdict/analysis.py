"""From a finished run's files to counts, tallies and tables."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from loadtest.check.evidence import find_evidence
from loadtest.check.history import lifetimes_of, read_header, read_ops
from loadtest.check.offline import check
from loadtest.check.op import Kind, Op, Outcome
from loadtest.check.tally import Report
from loadtest.settings import Settings
from loadtest.verdict import latency, spread
from loadtest.verdict.counted import Counted, Features
from loadtest.verdict.latency import Latency
from loadtest.verdict.spread import Spread

NEEDS = {
    "slow": {Kind.SLOW},
    "data": {Kind.ADD, Kind.PUT, Kind.GET, Kind.DELETE},
    "devices": {Kind.DEVICES, Kind.END},
}


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that the final table and the verdict are made of."""

    counted: Counted
    report: Report
    spread: Spread
    latencies: dict[str, Latency]
    seconds: float


def analyse(settings: Settings, features: Features, locust_code: int) -> Analysis:
    """Read history and summary.

    OSError, ValueError, KeyError or TypeError: the generator left no whole run.
    """
    summary = json.loads(settings.summary.read_text(encoding="utf-8"))
    ops = list(read_ops(settings.history))
    report = check(ops, lifetimes_of(read_header(settings.history)))
    balance = spread.measure(ops, settings.weights)
    latencies = latency.measure(ops)
    counted = _count(ops, summary, features)
    counted.violations = {str(name): t.violations for name, t in report.tallies.items()}
    counted.lost_processes = summary.get("lost_processes", 0)
    for name in summary.get("broken_in_lost", ()):
        counted.violations[name] = max(1, counted.violations[name])
    counted.checkers_agree = _same(summary["online"], report)
    counted.harness_errors = _harness_errors(summary, counted, locust_code)
    counted.workers, counted.expected_workers = len(balance.workers), settings.workers
    counted.policy, counted.unnamed = settings.policy, balance.unnamed
    counted.ratio, counted.difference = balance.ratio, balance.difference
    counted.hops, counted.hop_ratio = balance.hops.total(), balance.hop_ratio
    counted.chance_hops = balance.chance_hops
    counted.slowest_p99 = _slowest(latencies)
    return Analysis(counted, report, balance, latencies, summary["seconds"])


def _count(ops: list[Op], summary: dict[str, Any], features: Features) -> Counted:
    done = Counter(op.outcome for op in ops)
    evidence = find_evidence(ops)
    unexpected = {kind for name in features.missing for kind in NEEDS[name]}
    expected = [kind for kind in Kind if kind not in unexpected]
    proper = Counter(op.kind for op in ops if _as_meant(op))
    return Counted(
        requests=len(ops),
        answered=sum(op.status > 0 for op in ops),
        failed=done[Outcome.FAIL],
        unknown=done[Outcome.UNKNOWN],
        conflicts=done[Outcome.CONFLICT],
        failures=dict(Counter(f"{op.kind}: {op.why}" for op in ops if op.outcome is Outcome.FAIL)),
        sessions=len({op.session for op in ops if op.kind is Kind.LOGIN and _as_meant(op)}),
        kinds_ok={str(kind): proper[kind] for kind in expected},
        pairs=evidence.pairs,
        crossed=evidence.crossed,
        overlaps=evidence.overlaps,
        cookies_withheld=summary["cookies_withheld"],
        arrivals=summary["arrivals"],
        dropped=summary["dropped"],
        cpu_share=summary["cpu_share"],
    )


def _as_meant(op: Op) -> bool:
    """A probe is meant to be turned away, everything else to be served."""
    return op.outcome is (Outcome.DENIED if op.kind is Kind.PROBE else Outcome.OK)


def _same(online: dict[str, list[int]], report: Report) -> bool:
    return {name: tuple(counts) for name, counts in online.items()} == report.counts()


def _harness_errors(summary: dict[str, Any], counted: Counted, locust_code: int) -> list[str]:
    errors = list(dict.fromkeys(summary["errors"]))
    if summary["requests"] != counted.requests:
        errors.append(f"{summary['requests']} requests sent, {counted.requests} in the history")
    clean = not (counted.failed or counted.unknown or any(counted.violations.values()))
    if locust_code not in (0, 1) and clean and not errors:
        errors.append(f"Locust ended with exit code {locust_code}")
    if locust_code == 1 and clean:
        errors.append(f"Locust counted {summary['locust_failures']} failures, the history none")
    return errors


def _slowest(latencies: dict[str, Latency]) -> tuple[str, float] | None:
    rows = {kind: row.p99 for kind, row in latencies.items() if kind != Kind.SLOW}
    return max(rows.items(), key=lambda row: row[1], default=None)
