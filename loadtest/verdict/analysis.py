"""From a finished run's folder to counts, tallies and tables."""

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.check.history import lifetimes_of, read_header, read_ops
from loadtest.check.offline import Highest, check
from loadtest.check.op import RAISES, SHOWS, Kind, Lifetimes, Op, Outcome
from loadtest.check.tally import Report
from loadtest.verdict import latency, spread, suspects
from loadtest.verdict.latency import Latency
from loadtest.verdict.spread import Spread
from loadtest.verdict.suspects import Crossing
from loadtest.verdict.verdict import Counted, Limits, Verdict, judge, load_limits

# What a scenario needs that not every stack has, by its name, and the requests that are left out without it.
NEEDS: dict[str, frozenset[Kind]] = {
    "slow": frozenset({Kind.SLOW}),  # GET /slow
    "data": frozenset({Kind.ADD, Kind.COUNT, Kind.PUT, Kind.GET, Kind.DELETE}),  # /api/data/<key>
    "devices": frozenset({Kind.DEVICES, Kind.END}),  # /api/devices and /devices/...
}
TAKEN_OVER = ("cookies_withheld", "arrivals", "dropped", "cpu_share", "stall_milliseconds")
MEANT_TO_FAIL = (Kind.PROBE, Kind.WRONG, Kind.STRANGER)


@dataclass(slots=True)
class Evidence:
    """How much a history could have shown, over all sessions."""

    pairs: int = 0  # a read, and the newest raise of its counter acknowledged before it began
    crossed: int = 0  # of these, answered by two different workers
    overlaps: int = 0  # requests sent while another one of their session was in flight
    writes: int = 0  # acknowledged raises that a later read would have missed


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that the final table, the report and the verdict are made of."""

    header: dict[str, Any]
    lifetimes: Lifetimes
    counted: Counted
    report: Report
    spread: Spread
    crossing: Crossing
    latencies: dict[str, Latency]
    by_worker: dict[str, Latency]
    seconds: float
    verdict: Verdict


def analyse(folder: Path, locust_code: int = 0) -> tuple[Analysis, list[Op]]:
    """Read history and summary, check, and judge; the history comes along for pictures.

    OSError, ValueError, KeyError or TypeError: the generator left no whole run.
    """
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    header = read_header(folder / "history.jsonl")
    ops = list(read_ops(folder / "history.jsonl"))
    lifetimes, limits = lifetimes_of(header), load_limits()
    report = check(ops, lifetimes)
    asked = header.get("settings", {})
    balance = spread.measure(ops, tuple(asked.get("weights", ())))
    balance.requests.update(summary.get("others_served", {}))
    crossing = suspects.crossing(ops, report)
    latencies = latency.measure(ops)
    counted = _count(ops, summary, header)
    _count_report(counted, report, summary)
    counted.blamed = crossing.named()
    counted.harness_errors = _harness_errors(summary, counted, locust_code)
    _count_spread(counted, balance, header)
    _count_workers(counted, ops, latencies, limits)
    if len(set(balance.weights)) > 1:
        counted.slow_workers = []  # a worker that is given more may take longer
    verdict = judge(counted, limits)
    analysis = Analysis(
        header, lifetimes, counted, report, balance, crossing, latencies, latency.by_worker(ops),
        summary["seconds"], verdict,
    )  # fmt: skip
    return analysis, ops


def _count(ops: list[Op], summary: dict[str, Any], header: dict[str, Any]) -> Counted:
    done = Counter(op.outcome for op in ops)
    evidence = find_evidence(ops)
    left_out = frozenset().union(*(NEEDS[name] for name in header.get("missing", ())))
    proper = Counter(op.kind for op in ops if _as_meant(op))
    return Counted(
        requests=len(ops),
        answered=sum(op.status > 0 for op in ops),
        failed=done[Outcome.FAIL],
        unknown=done[Outcome.UNKNOWN],
        conflicts=done[Outcome.CONFLICT],
        failures=_causes(ops, Outcome.FAIL),
        unknowns=_causes(ops, Outcome.UNKNOWN),
        others_failed=summary.get("others_failed", 0),
        sessions=len({op.session for op in ops if op.kind is Kind.LOGIN and _as_meant(op)}),
        kinds_ok={str(kind): proper[kind] for kind in Kind if kind not in left_out},
        **asdict(evidence),
        **{name: summary[name] for name in TAKEN_OVER},
        cpu_wait=summary.get("cpu_wait", 0.0),
        lost_processes=summary.get("lost_processes", 0),
    )


def _causes(ops: list[Op], outcome: Outcome) -> dict[str, int]:
    """How often for what reason, by kind of request."""
    return dict(Counter(f"{op.kind}: {op.why}" for op in ops if op.outcome is outcome))


def _count_report(counted: Counted, report: Report, summary: dict[str, Any]) -> None:
    counted.violations = {str(name): tally.violations for name, tally in report.tallies.items()}
    for name in summary.get("broken_in_lost", ()):
        counted.violations[name] = max(1, counted.violations[name])
    online = {name: tuple(counts) for name, counts in summary["online"].items()}
    counted.checkers_agree = online == report.counts()


def _count_spread(counted: Counted, balance: Spread, header: dict[str, Any]) -> None:
    asked = header.get("settings", {})
    counted.workers, counted.expected_workers = len(balance.workers), asked.get("workers")
    counted.policy, counted.unnamed = asked.get("policy", "round_robin"), balance.unnamed
    counted.ratio, counted.difference = balance.ratio, balance.difference
    counted.hops, counted.hop_ratio = balance.hops.total(), balance.hop_ratio
    counted.chance_hops = balance.chance_hops
    tries = header.get("rotations", ())
    counted.rotation = max(
        (spread.rotation_share(names, balance.weights, counted.workers) for names in tries),
        default=1.0,
    )


def _count_workers(
    counted: Counted, ops: list[Op], latencies: dict[str, Latency], limits: Limits
) -> None:
    rows = {
        kind: row.p99
        for kind, row in latencies.items()
        if kind != Kind.SLOW and row.count >= limits.p99_answers
    }
    counted.slowest_p99 = max(rows.items(), key=lambda row: row[1], default=None)
    counted.failing_workers = suspects.failing(ops, limits.failing_chance)
    counted.slow_workers = suspects.slower(
        ops, limits.slower_milliseconds, limits.slower_share, limits.slowest_share
    )


def _as_meant(op: Op) -> bool:
    """A probe is meant to be turned away, and a stranger; everything else to be served."""
    return op.outcome is (Outcome.DENIED if op.kind in MEANT_TO_FAIL else Outcome.OK)


def _harness_errors(summary: dict[str, Any], counted: Counted, locust_code: int) -> list[str]:
    errors = list(dict.fromkeys(summary["errors"]))
    if summary["requests"] != counted.requests:
        errors.append(f"{summary['requests']} requests sent, {counted.requests} in the history")
    clean = not (counted.failed or counted.unknown or any(counted.violations.values()))
    if clean and not counted.others_failed and not errors and locust_code:
        errors.append(
            f"Locust ended with exit code {locust_code}, and the history says nothing of it"
        )
    return errors


def find_evidence(ops: Iterable[Op]) -> Evidence:
    """Count what a history offers to the checkers."""
    evidence = Evidence()
    sessions: defaultdict[str, list[Op]] = defaultdict(list)
    for op in ops:
        sessions[op.session].append(op)
    for own in sessions.values():
        _add_pairs(evidence, own)
        _add_overlaps(evidence, own)
    return evidence


def _add_pairs(evidence: Evidence, ops: list[Op]) -> None:
    writes: defaultdict[str | None, list[Op]] = defaultdict(list)
    reads: defaultdict[str | None, list[Op]] = defaultdict(list)
    for op in ops:
        if op.outcome is Outcome.OK and op.value is not None:
            if op.kind in RAISES and op.kind is not Kind.REPEAT:
                writes[op.key].append(op)
            elif op.kind in SHOWS:
                reads[op.key].append(op)
    for key, written in writes.items():
        newest = Highest(written)
        for read in reads[key]:
            write = newest.before(read.invoked)
            if write is not None:
                evidence.pairs += 1
                evidence.crossed += write.worker != read.worker
        last = max((read.invoked for read in reads[key]), default=0)
        evidence.writes += newest.count_before(last)


def _add_overlaps(evidence: Evidence, ops: list[Op]) -> None:
    begun = sorted(op.invoked for op in ops)
    ended = sorted(op.returned for op in ops)
    for op in ops:
        evidence.overlaps += bisect_left(begun, op.invoked) > bisect_left(ended, op.invoked)
