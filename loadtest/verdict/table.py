"""The final table of a run, as text."""

from loadtest.check.tally import Report, describe
from loadtest.verdict.analysis import Analysis
from loadtest.verdict.spread import Spread
from loadtest.verdict.verdict import Verdict


def render(analysis: Analysis, verdict: Verdict) -> str:
    """Workers, invariants, latency, cost, reasons; the last line is the sentence to quote."""
    counted = analysis.counted
    parts = [
        _workers(analysis.spread),
        _policy(counted.policy),
        _invariants(analysis.report),
        _latencies(analysis),
        f"generator: {counted.cpu_share:.0%} of a core for"
        f" {counted.requests / max(analysis.seconds, 1e-9):,.0f} requests/s;"
        f" {counted.overlaps:,} overlapping requests; {counted.conflicts:,} adds gave way (409);"
        f" {counted.arrivals:,} open arrivals, {counted.dropped:,} dropped",
        closing(verdict),
    ]
    return "\n\n".join(part for part in parts if part)


def closing(verdict: Verdict) -> str:
    """The reasons, then the sentence."""
    reasons = [f"  {code:d}: {reason}" for code, reason in verdict.reasons]
    return "\n".join([*reasons, *([""] if reasons else []), verdict.sentence])


def _workers(spread: Spread) -> str:
    total, names = spread.requests.total(), spread.workers
    width = max((len(name) for name in names), default=6)
    marks = [f"to {chr(ord('a') + index % 26)}" for index in range(len(names))]
    head = f"  {'worker':<{width + 3}}{'requests':>10}{'share':>9}  next request of the session"
    lines = [head + "".join(f"{mark:>9}" for mark in marks)]
    for mark, name in zip(marks, names, strict=True):
        count = spread.requests[name]
        hops = "".join(f"{spread.hops[name, other]:>9,}" for other in names)
        lines.append(f"  {mark[-1]}: {name:<{width}}{count:>10,}{count / total:>9.2%}{'':29}{hops}")
    lines.append(
        f"  difference {spread.difference:,}, ratio {spread.ratio:.4f};"
        f" hop ratio {spread.hop_ratio:.3f} (round robin: about {spread.chance_hops:.2f}, sticky: 0)"
    )
    if len(set(spread.weights)) > 1:
        lines.append(f"  Judged by the upstream's weights: {', '.join(map(str, spread.weights))}.")
    return "\n".join(lines)


def _policy(policy: str) -> str:
    if policy == "round_robin":
        return ""
    return f"  The upstream uses {policy}: evenness is shown, but judged for round_robin only."


def _invariants(report: Report) -> str:
    lines = [f"  {'invariant':<24}{'checked':>10}{'violations':>12}"]
    for name, tally in report.tallies.items():
        lines.append(f"  {name:<24}{tally.checked:>10,}{tally.violations:>12,}")
        lines += [f"      {describe(op)}" for op in tally.witness]
    return "\n".join(lines)


def _latencies(analysis: Analysis) -> str:
    head = f"  {'milliseconds':<28}{'count':>9}{'p50':>10}{'p95':>10}{'p99':>10}{'worst':>10}"
    rows = [
        f"  {kind:<28}{row.count:>9,}{row.p50:>10.3f}{row.p95:>10.3f}{row.p99:>10.3f}"
        f"{row.worst:>10.3f}"
        for kind, row in analysis.latencies.items()
    ]
    return "\n".join([head, *rows])
