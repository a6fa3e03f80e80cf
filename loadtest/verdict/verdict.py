"""The verdict: pure functions from what was counted to an exit code, reasons and one sentence."""

from dataclasses import dataclass
from enum import IntEnum

from loadtest.verdict.counted import Counted
from loadtest.verdict.limits import Limits, Proof, Slo, SpreadLimits


class Code(IntEnum):
    """The exit codes of the load test."""

    HOLDS = 0
    HARNESS = 2
    CONSISTENCY = 10
    SPREAD = 11
    SLO = 12
    PROVES_NOTHING = 13
    NOT_REACHABLE = 14


# A broken promise is never hidden by a lesser finding, and a finding never by a weak run.
SEVERITY = (Code.CONSISTENCY, Code.HARNESS, Code.SPREAD, Code.PROVES_NOTHING, Code.SLO)

MEANING = {
    Code.HOLDS: "all holds",
    Code.HARNESS: "bug in the load test",
    Code.CONSISTENCY: "a session was wrong",
    Code.SPREAD: "requests were not spread as they should",
    Code.SLO: "a limit was missed",
    Code.PROVES_NOTHING: "the run proves nothing",
    Code.NOT_REACHABLE: "the stack is not reachable",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run is worth."""

    code: Code
    sentence: str
    reasons: tuple[tuple[Code, str], ...] = ()


def judge(counted: Counted, limits: Limits) -> Verdict:
    """Weigh a finished run. The code is that of the gravest reason, 0 only without any."""
    reasons = [
        *((Code.CONSISTENCY, reason) for reason in _consistency(counted)),
        *((Code.HARNESS, reason) for reason in counted.harness_errors),
        *((Code.SPREAD, reason) for reason in _spread(counted, limits.spread)),
        *((Code.PROVES_NOTHING, reason) for reason in _proof(counted, limits.proof)),
        *((Code.SLO, reason) for reason in _slo(counted, limits.slo)),
    ]
    found = {code for code, _ in reasons}
    code = next((code for code in SEVERITY if code in found), Code.HOLDS)
    return Verdict(code, _sentence(code, counted), tuple(reasons))


def unreachable(reason: str) -> Verdict:
    """The verdict when no run took place because the stack did not answer."""
    return _without_run(Code.NOT_REACHABLE, reason)


def no_run(reason: str) -> Verdict:
    """The verdict when the generator left nothing that could be judged."""
    return _without_run(Code.HARNESS, reason)


def not_started() -> Verdict:
    """The verdict when nobody pressed start on the web page."""
    return _without_run(Code.PROVES_NOTHING, "no run was started")


def _without_run(code: Code, reason: str) -> Verdict:
    sentence = f"FAIL (exit code {code:d}, {MEANING[code]}): nothing was proved."
    return Verdict(code, sentence, ((code, reason),))


def raised(own: int | None, found: Code) -> int | None:
    """The exit code that Locust should use: the hook may only raise what is there.

    None leaves the choice to Locust, which then reports failed requests by itself.
    """
    return own if own or found is Code.HOLDS else int(found)


def _consistency(counted: Counted) -> list[str]:
    return [
        f"{name}: {count:,} violation{'s' if count > 1 else ''}"
        for name, count in counted.violations.items()
        if count
    ]


def _spread(counted: Counted, limits: SpreadLimits) -> list[str]:
    if not counted.answered:
        return []
    reasons = []
    expected = counted.expected_workers
    if expected is not None and counted.workers != expected:
        noun = "worker" if counted.workers == 1 else "workers"
        reasons.append(f"{counted.workers} {noun} answered, the upstream lists {expected}")
    if counted.unnamed:
        reasons.append(f"{counted.unnamed:,} answers carried no X-Served-By")
    if counted.policy != "round_robin" or counted.workers < 2 or counted.lost_processes:
        return reasons  # nothing to hold it against: another rule, one worker, or requests missing
    if counted.ratio > limits.ratio and counted.difference > limits.difference:
        reasons.append(
            f"the busiest worker answered {counted.ratio:.3f} times as many requests as the"
            f" quietest (limit {limits.ratio}), {counted.difference:,} more"
        )
    least_hops = limits.hop_share * counted.chance_hops
    if counted.hops >= limits.hops and counted.hop_ratio < least_hops:
        reasons.append(
            f"sessions stick to their worker: only {counted.hop_ratio:.0%} of consecutive"
            f" requests changed it (at least {least_hops:.0%} expected)"
        )
    return reasons


def _proof(counted: Counted, limits: Proof) -> list[str]:
    checks = (
        (not counted.checkers_agree, "the online and the offline checker disagree"),
        (
            counted.lost_processes > 0,
            f"{counted.lost_processes} of the generator's processes ended early; what they saw is"
            " missing",
        ),
        (
            counted.answered < limits.requests,
            f"{counted.answered:,} requests were answered, {limits.requests:,} are needed",
        ),
        (
            counted.crossed < limits.crossed_pairs,
            f"{counted.crossed:,} reads came from another worker than the write before them,"
            f" {limits.crossed_pairs:,} are needed",
        ),
        (
            counted.overlaps < limits.overlaps,
            f"{counted.overlaps:,} requests overlapped another of their session,"
            f" {limits.overlaps:,} are needed",
        ),
        (
            counted.cookies_withheld > 0,
            f"{counted.cookies_withheld:,} requests went out without the session cookie"
            " (a Secure cookie is not sent over http)",
        ),
        (
            counted.dropped > limits.dropped_share * counted.arrivals,
            f"{counted.dropped:,} of {counted.arrivals:,} open arrivals were dropped",
        ),
        (
            counted.cpu_share > limits.cpu_share,
            f"the generator used {counted.cpu_share:.0%} of a core (limit"
            f" {limits.cpu_share:.0%}); use fewer USERS or a lower RATE",
        ),
    )
    silent = [kind for kind, count in counted.kinds_ok.items() if not count]
    return [
        *(reason for failed, reason in checks if failed),
        *(f"no {kind} ever succeeded" for kind in silent),
    ]


def _slo(counted: Counted, limits: Slo) -> list[str]:
    reasons = []
    if counted.failed > limits.failed_share * counted.requests:
        most = sorted(counted.failures.items(), key=lambda item: -item[1])[:3]
        detail = "; ".join(f"{count:,} x {why}" for why, count in most)
        reasons.append(f"{counted.failed:,} requests failed ({detail})")
    if counted.unknown > limits.unknown_share * counted.requests:
        reasons.append(f"{counted.unknown:,} requests may or may not have happened")
    if counted.slowest_p99 and counted.slowest_p99[1] > limits.p99_milliseconds:
        kind, p99 = counted.slowest_p99
        reasons.append(
            f"99th percentile of {kind}: {p99:,.0f} ms (limit {limits.p99_milliseconds:,.0f})"
        )
    return reasons


def _sentence(code: Code, counted: Counted) -> str:
    share = counted.crossed / counted.pairs if counted.pairs else 0
    start = "PASS" if code is Code.HOLDS else f"FAIL (exit code {code:d}, {MEANING[code]})"
    return (
        f"{start}: {counted.requests:,} requests of {counted.sessions:,} sessions on"
        f" {counted.workers} workers; {counted.pairs:,} reads after a write, {counted.crossed:,}"
        f" ({share:.0%}) answered by another worker than the write;"
        f" {sum(counted.violations.values()):,} violations; busiest by quietest worker"
        f" {counted.ratio:.4f}."
    )
