"""What a run had to reach, what it reached, and which reasons of the verdict speak against it."""

from typing import Any

from loadtest.verdict.counted import Counted
from loadtest.verdict.limits import Limits
from loadtest.verdict.verdict import Code, Verdict


def gates_of(counted: Counted, verdict: Verdict, limits: Limits) -> list[dict[str, Any]]:
    """One row an exit code. Whether it holds is what the verdict says; nothing is judged again."""
    rows = (
        (Code.CONSISTENCY, "no session is ever wrong", _consistency(counted)),
        (Code.SPREAD, _asked_spread(counted, limits), _spread(counted)),
        (Code.PROVES_NOTHING, _asked_proof(limits), _proof(counted)),
        (Code.SLO, _asked_slo(limits), _slo(counted)),
        (Code.HARNESS, "no error in the load test itself", _harness(counted)),
    )
    return [
        {
            "code": int(code),
            "asked": asked,
            "measured": measured,
            "reasons": _reasons(verdict, code),
        }
        for code, asked, measured in rows
    ]


def _reasons(verdict: Verdict, code: Code) -> list[str]:
    return [text for found, text in verdict.reasons if found is code]


def _consistency(counted: Counted) -> str:
    return (
        f"{sum(counted.violations.values()):,} violations of {len(counted.violations)} invariants"
    )


def _asked_spread(counted: Counted, limits: Limits) -> str:
    spread, expected = limits.spread, counted.expected_workers
    workers = f"{expected} workers" if expected else "at least two workers"
    if counted.policy != "round_robin":
        return f"{workers}; evenness is not judged for {counted.policy}"
    return (
        f"{workers}; busiest by quietest at most {spread.ratio:g}, or {spread.difference} requests"
        f" apart; at least {spread.hop_share * counted.chance_hops:.0%} of hops change the worker"
    )


def _spread(counted: Counted) -> str:
    return (
        f"{counted.workers} workers; {counted.ratio:.4f}, {counted.difference:,} apart;"
        f" {counted.hop_ratio:.1%} of {counted.hops:,} hops"
    )


def _asked_proof(limits: Limits) -> str:
    proof = limits.proof
    return (
        f"at least {proof.requests:,} answers, {proof.crossed_pairs:,} reads after a write on another"
        f" worker, {proof.overlaps:,} overlaps; at most {proof.dropped_share:.1%} of arrivals dropped;"
        f" generator below {proof.cpu_share:.0%} of a core; both checkers agree"
    )


def _proof(counted: Counted) -> str:
    return (
        f"{counted.answered:,} answers, {counted.crossed:,} of {counted.pairs:,} reads crossed,"
        f" {counted.overlaps:,} overlaps; {counted.dropped:,} of {counted.arrivals:,} dropped;"
        f" {counted.cpu_share:.0%} of a core; they {'agree' if counted.checkers_agree else 'differ'}"
    )


def _asked_slo(limits: Limits) -> str:
    slo = limits.slo
    return (
        f"at most {slo.failed_share:.1%} failed, {slo.unknown_share:.1%} without an answer;"
        f" 99th percentile of each kind at most {slo.p99_milliseconds:,.0f} ms"
    )


def _slo(counted: Counted) -> str:
    slowest = ""
    if counted.slowest_p99:
        slowest = f"; slowest: {counted.slowest_p99[0]}, {counted.slowest_p99[1]:,.1f} ms"
    return f"{counted.failed:,} failed, {counted.unknown:,} may have happened{slowest}"


def _harness(counted: Counted) -> str:
    return f"{len(counted.harness_errors):,} errors"
