"""The verdict: pure functions from what was counted to an exit code, gates with reasons, and one sentence."""

import tomllib
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

SLO_FILE = Path(__file__).parents[1] / "slo.toml"
CERTAINTY = 3  # a fault in one of n is met with 95 % within 3n: e to the power of -3 is 0.05


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
# What says nothing any more beside a graver finding: a run that a violation ended early is short, and
# one whose sessions stick crosses no workers.
MOOT = {
    Code.CONSISTENCY: {Code.SPREAD, Code.PROVES_NOTHING, Code.SLO},
    Code.HARNESS: {Code.SPREAD, Code.PROVES_NOTHING, Code.SLO},
    Code.SPREAD: {Code.PROVES_NOTHING},
}

MEANING = {
    Code.HOLDS: "all holds",
    Code.HARNESS: "wrong setting, or a bug in the load test",
    Code.CONSISTENCY: "a session was wrong",
    Code.SPREAD: "requests were not spread as they should",
    Code.SLO: "a limit was missed",
    Code.PROVES_NOTHING: "the run proves nothing",
    Code.NOT_REACHABLE: "the stack is not reachable",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """All of slo.toml; the comments there say what each means."""

    failed_share: float
    unknown_share: float
    p99_milliseconds: float
    p99_answers: int
    stall_factor: float
    slower_milliseconds: float
    slower_share: float
    slowest_share: float
    failing_chance: float
    ratio: float
    difference: int
    hop_share: float
    hops: int
    rotation_share: float
    requests: int
    crossed_pairs: int
    overlaps: int
    dropped_share: float
    cpu_share: float


def load_limits() -> Limits:
    """Read the file. TypeError names a missing or unknown limit."""
    sections = tomllib.loads(SLO_FILE.read_text(encoding="utf-8"))
    return Limits(**{name: value for limits in sections.values() for name, value in limits.items()})


@dataclass(slots=True)
class Counted:
    """Everything the verdict depends on. A fresh one has counted nothing, and proves nothing."""

    requests: int = 0  # all that were sent
    answered: int = 0
    failed: int = 0
    unknown: int = 0
    conflicts: int = 0  # adds that others overtook each time, and that said so
    failures: dict[str, int] = field(default_factory=dict)
    unknowns: dict[str, int] = field(default_factory=dict)
    others_failed: int = 0  # of users whose requests are not checked
    sessions: int = 0
    kinds_ok: dict[str, int] = field(default_factory=dict)  # by kind that was meant to happen
    violations: dict[str, int] = field(default_factory=dict)  # by invariant, offline
    blamed: list[str] = field(default_factory=list)  # whose they are, if one worker's
    checkers_agree: bool = True
    lost_processes: int = 0  # of the generator; what they saw is missing
    pairs: int = 0  # reads after an acknowledged write
    crossed: int = 0  # of these, answered by another worker
    overlaps: int = 0
    writes: int = 0  # acknowledged, and read afterwards: a lost one would have shown
    workers: int = 0
    expected_workers: int | None = None
    policy: str = "round_robin"
    ratio: float = 0.0  # busiest by quietest worker, each by its weight
    difference: int = 0
    hops: int = 0  # consecutive requests of one session
    hop_ratio: float = 0.0  # of these, answered by another worker
    chance_hops: float = 0.0  # the same if chance chose the workers by their weights
    # The share of requests sent one by one that came in the order of a rotation.
    rotation: float = 1.0
    unnamed: int = 0
    cookies_withheld: int = 0  # requests that went out without the session cookie
    arrivals: int = 0
    dropped: int = 0
    cpu_share: float = 0.0
    slowest_p99: tuple[str, float] | None = None  # kind of request, milliseconds
    # By which the generator's own alarm clock was late, 99th percentile.
    stall_milliseconds: float = 0.0
    # Seconds that the generator waited for a processor, by those that it had one.
    cpu_wait: float = 0.0
    slow_workers: list[str] = field(default_factory=list)
    failing_workers: list[str] = field(default_factory=list)
    harness_errors: list[str] = field(default_factory=list)

    @property
    def alone(self) -> bool:
        """The stack is meant to have one worker: nothing can cross."""
        return self.expected_workers == 1 == self.workers


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing a run has to pass: what was asked, what was measured, and why not, if so."""

    code: Code
    asked: str
    measured: str
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run is worth."""

    code: Code
    sentence: str
    reasons: tuple[tuple[Code, str], ...] = ()
    gates: tuple[Gate, ...] = ()


def judge(counted: Counted, limits: Limits) -> Verdict:
    """Weigh a finished run. The code is that of the gravest reason, 0 only without any."""
    errors = counted.harness_errors
    harness = Gate(
        Code.HARNESS, "no error of the load test itself", f"{len(errors):,} errors", errors
    )
    gates = (
        *(_consistency(counted), harness, _spread(counted, limits)),
        *(_proof(counted, limits), _slo(counted, limits)),
    )
    found = {gate.code for gate in gates if gate.reasons}
    code = next((code for code in SEVERITY if code in found), Code.HOLDS)
    moot = MOOT.get(code, set())
    reasons = [
        (gate.code, text) for gate in gates for text in gate.reasons if gate.code not in moot
    ]
    return Verdict(code, _sentence(code, counted), tuple(reasons), gates)


def no_run(code: Code, reason: str) -> Verdict:
    """The verdict when there is nothing to judge."""
    sentence = f"FAIL (exit code {code:d}, {MEANING[code]}): nothing was proved."
    return Verdict(code, sentence, ((code, reason),))


def raised(own: int | None, found: Code) -> int | None:
    """The exit code that Locust should use: the hook may only raise what is there.

    None leaves the choice to Locust, which then reports failed requests by itself.
    """
    return own if own or found is Code.HOLDS else int(found)


def _consistency(counted: Counted) -> Gate:
    broken = [
        f"{name}: {count:,} violation{'s' if count > 1 else ''}"
        for name, count in counted.violations.items()
        if count
    ]
    return Gate(
        Code.CONSISTENCY,
        "every invariant holds",
        f"{sum(counted.violations.values()):,} violations of {len(counted.violations)} invariants",
        [*broken, *(counted.blamed if broken else [])],
    )


def _spread(counted: Counted, limits: Limits) -> Gate:
    expected = counted.expected_workers
    judged = counted.policy == "round_robin" and not counted.lost_processes
    asked = f"{'any' if expected is None else expected} workers, each named in its answers"
    if judged:
        asked += (
            f"; ratio at most {limits.ratio:g} or difference at most {limits.difference}; hop ratio"
            f" at least {_least_hops(counted, limits):.2f}; the order of a rotation"
        )
    measured = (
        f"{counted.workers} workers; ratio {counted.ratio:.4f}, difference {counted.difference:,};"
        f" hop ratio {counted.hop_ratio:.3f}; {counted.rotation:.0%} in order"
    )
    reasons = [*_workers(counted), *(_evenness(counted, limits) if judged else [])]
    return Gate(Code.SPREAD, asked, measured, reasons if counted.answered else [])


def _workers(counted: Counted) -> list[str]:
    reasons = []
    expected = counted.expected_workers
    if expected is not None and counted.workers != expected:
        noun = "worker" if counted.workers == 1 else "workers"
        reasons.append(f"{counted.workers} {noun} answered, the upstream lists {expected}")
    if counted.unnamed:
        reasons.append(f"{counted.unnamed:,} answers carried no X-Served-By")
    return reasons


def _evenness(counted: Counted, limits: Limits) -> list[str]:
    reasons: list[str] = []
    if counted.workers < 2:
        return reasons
    if counted.ratio > limits.ratio and counted.difference > limits.difference:
        reasons.append(
            f"the busiest worker answered {counted.ratio:.3f} times as many requests as the"
            f" quietest (limit {limits.ratio}), {counted.difference:,} more"
        )
    least = _least_hops(counted, limits)
    if counted.hops >= limits.hops and counted.hop_ratio < least:
        reasons.append(
            f"sessions stick to their worker: only {counted.hop_ratio:.0%} of consecutive"
            f" requests changed it (at least {least:.0%} expected)"
        )
    if counted.rotation < limits.rotation_share:
        reasons.append(
            f"this is no round robin: of requests sent one by one, {counted.rotation:.0%} were"
            f" answered in the order of a rotation (at least {limits.rotation_share:.0%} expected;"
            " other visitors disturb it, too)"
        )
    return reasons


def _least_hops(counted: Counted, limits: Limits) -> float:
    return limits.hop_share * counted.chance_hops


def _proof(counted: Counted, limits: Limits) -> Gate:
    crossed = 0 if counted.alone else limits.crossed_pairs
    asked = (
        f"{limits.requests:,} answers, {crossed:,} reads from another worker,"
        f" {limits.overlaps:,} overlaps; at most {limits.dropped_share:.1%} of arrivals dropped;"
        f" generator below {limits.cpu_share:.0%} of a core; both checkers agree"
    )
    measured = (
        f"{counted.answered:,} answers, {counted.crossed:,} of {counted.pairs:,} reads crossed,"
        f" {counted.overlaps:,} overlaps; {counted.dropped:,} of {counted.arrivals:,} dropped;"
        f" {counted.cpu_share:.0%} of a core; they {'agree' if counted.checkers_agree else 'differ'}"
    )
    silent = [kind for kind, count in counted.kinds_ok.items() if not count]
    checks = (
        (not counted.checkers_agree, "the online and the offline checker disagree"),
        (counted.lost_processes > 0,
         f"{counted.lost_processes} of the generator's processes ended early; what they saw is missing"),
        (counted.answered < limits.requests,
         f"{counted.answered:,} requests were answered, {limits.requests:,} are needed"),
        (counted.crossed < crossed,
         f"{counted.crossed:,} reads came from another worker than the write before them, {crossed:,} are needed"),
        (counted.overlaps < limits.overlaps,
         f"{counted.overlaps:,} requests overlapped another of their session, {limits.overlaps:,} are needed"),
        (counted.cookies_withheld > 0,
         f"{counted.cookies_withheld:,} requests went out without the session cookie"
         " (a Secure cookie is not sent over http)"),
        (counted.dropped > limits.dropped_share * counted.arrivals,
         f"{counted.dropped:,} of {counted.arrivals:,} open arrivals were dropped"),
        (counted.cpu_share > limits.cpu_share,
         f"the generator used {counted.cpu_share:.0%} of a core (limit {limits.cpu_share:.0%});"
         " use fewer USERS or a lower RATE"),
        (bool(silent), f"no {', '.join(silent)} ever succeeded"),
    )  # fmt: skip
    return Gate(Code.PROVES_NOTHING, asked, measured, [text for failed, text in checks if failed])


def _slo(counted: Counted, limits: Limits) -> Gate:
    most = limits.p99_milliseconds * (1 + counted.cpu_wait)
    most += limits.stall_factor * counted.stall_milliseconds
    asked = (
        f"at most {limits.failed_share:.1%} failed, {limits.unknown_share:.1%} without an answer;"
        f" 99th percentile of each kind at most {most:,.0f} ms; no worker worse"
        " than the others"
    )
    slowest = ""
    if counted.slowest_p99:
        slowest = f"; slowest: {counted.slowest_p99[0]}, {counted.slowest_p99[1]:,.1f} ms"
    measured = f"{counted.failed:,} failed, {counted.unknown:,} may have happened{slowest}"
    reasons = [*counted.failing_workers, *counted.slow_workers]
    if counted.failed > limits.failed_share * counted.requests:
        reasons.append(f"{counted.failed:,} requests failed ({_most_common(counted.failures)})")
    if counted.unknown > limits.unknown_share * counted.requests:
        causes = _most_common(counted.unknowns)
        reasons.append(f"{counted.unknown:,} requests may or may not have happened ({causes})")
    if counted.others_failed:
        reasons.append(f"{counted.others_failed:,} requests of users of your own failed")
    if counted.slowest_p99 and counted.slowest_p99[1] > most:
        kind, p99 = counted.slowest_p99
        reasons.append(f"99th percentile of {kind}: {p99:,.0f} ms (limit {most:,.0f})")
    return Gate(Code.SLO, asked, measured, reasons)


def _most_common(causes: dict[str, int]) -> str:
    first = sorted(causes.items(), key=lambda item: -item[1])[:3]
    return "; ".join(f"{count:,} x {why}" for why, count in first)


def _sentence(code: Code, counted: Counted) -> str:
    share = counted.crossed / counted.pairs if counted.pairs else 0
    start = "PASS" if code is Code.HOLDS else f"FAIL (exit code {code:d}, {MEANING[code]})"
    noun = "worker" if counted.workers == 1 else "workers"
    sentence = (
        f"{start}: {counted.requests:,} requests of {counted.sessions:,} sessions on"
        f" {counted.workers} {noun}; {counted.pairs:,} reads after a write, {counted.crossed:,}"
        f" ({share:.0%}) answered by another worker than the write;"
        f" {sum(counted.violations.values()):,} violations; busiest by quietest worker"
        f" {counted.ratio:.4f}."
    )
    one_in = counted.writes // CERTAINTY
    if code in (Code.CONSISTENCY, Code.HARNESS) or not one_in:
        return sentence
    return f"{sentence} A fault in more than one of {one_in:,} writes would have shown with 95 %."
