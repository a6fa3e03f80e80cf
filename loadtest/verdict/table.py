"""The final table of a run as text, and its verdict for machines: as JSON, and as JUnit's XML."""

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from loadtest.check.tally import Report, explain
from loadtest.verdict.analysis import Analysis
from loadtest.verdict.suspects import Crossing
from loadtest.verdict.verdict import CERTAINTY, Verdict


def render(analysis: Analysis) -> str:
    """Workers, invariants, latency, cost, reasons; the last line is the sentence to quote."""
    counted = analysis.counted
    parts = [
        _workers(analysis),
        _policy(counted.policy),
        _invariants(analysis.report),
        _crossing(analysis.crossing),
        _latencies(analysis),
        _timeouts(analysis),
        f"generator: {counted.cpu_share:.0%} of a core for"
        f" {counted.requests / max(analysis.seconds, 1e-9):,.0f} requests/s;"
        f" {counted.overlaps:,} overlapping requests; {counted.conflicts:,} adds gave way (409);"
        f" {counted.arrivals:,} open arrivals, {counted.dropped:,} dropped",
        closing(analysis.verdict),
    ]
    return "\n\n".join(part for part in parts if part)


def closing(verdict: Verdict) -> str:
    """The reasons, then the sentence."""
    reasons = [f"  {code:d}: {reason}" for code, reason in verdict.reasons]
    return "\n".join([*reasons, *([""] if reasons else []), verdict.sentence])


def store(analysis: Analysis, folder: Path) -> None:
    """Leave verdict.json and junit.xml beside the history."""
    verdict = analysis.verdict
    content = {
        "code": verdict.code,
        "sentence": verdict.sentence,
        "reasons": verdict.reasons,
        "counts": asdict(analysis.counted),
        "settings": analysis.header["settings"],
        "versions": {"python": platform.python_version(), "locust": version("locust")},
    }
    text = json.dumps(content, indent=1)
    (folder / "verdict.json").write_text(text + "\n", encoding="utf-8")
    (folder / "junit.xml").write_text(junit(analysis), encoding="utf-8")


def junit(analysis: Analysis) -> str:
    """The gates and the invariants as test cases of JUnit's XML, for a CI that reads those."""
    cases = [
        (f"exit code {gate.code:d}: {gate.asked}", gate.reasons) for gate in analysis.verdict.gates
    ]
    cases += [
        (str(name), explain(tally.witness)) for name, tally in analysis.report.tallies.items()
    ]
    failures = sum(bool(reasons) for _, reasons in cases)
    suite = Element("testsuite", name="loadtest", tests=str(len(cases)), failures=str(failures))
    for name, reasons in cases:
        case = SubElement(suite, "testcase", classname="loadtest", name=name)
        if reasons:
            SubElement(case, "failure", message=reasons[0]).text = "\n".join(reasons)
    return tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _workers(analysis: Analysis) -> str:
    spread = analysis.spread
    total, names = spread.requests.total(), spread.workers
    width = max((len(name) for name in names), default=6)
    marks = [f"to {chr(ord('a') + index % 26)}" for index in range(len(names))]
    head = (
        f"  {'worker':<{width + 3}}{'requests':>10}{'share':>9}{'wrong':>7}{'p50 ms':>9}{'p99 ms':>9}"
        "  next request of the session"
    )
    lines = [head + "".join(f"{mark:>8}" for mark in marks)]
    for mark, name in zip(marks, names, strict=True):
        count, latency = spread.requests[name], analysis.by_worker.get(name)
        times = f"{latency.p50:>9.1f}{latency.p99:>9.1f}" if latency else " " * 18
        broken = analysis.crossing.given(name)
        hops = "".join(f"{spread.hops[name, other]:>8,}" for other in names)
        lines.append(
            f"  {mark[-1]}: {name:<{width}}{count:>10,}{count / total:>9.2%}{broken:>7,}{times}"
            f"{'':29}{hops}"
        )
    lines.append(
        f"  difference {spread.difference:,}, ratio {spread.ratio:.4f};"
        f" hop ratio {spread.hop_ratio:.3f} (round robin: about {spread.chance_hops:.2f}, sticky: 0);"
        f" {analysis.counted.rotation:.0%} of single requests in the order of a rotation"
    )
    if len(set(spread.weights)) > 1:
        lines.append(f"  Judged by the upstream's weights: {', '.join(map(str, spread.weights))}.")
    return "\n".join(lines)


def _policy(policy: str) -> str:
    if policy == "round_robin":
        return ""
    return f"  The upstream uses {policy}: evenness is shown, but judged for round_robin only."


def _invariants(report: Report) -> str:
    lines = [
        f"  {'invariant':<28}{'checked':>10}{'violations':>12}  shows with 95 % a fault in one of"
    ]
    for name, tally in report.tallies.items():
        one_in = tally.checked // CERTAINTY
        shows = f"{one_in:>12,}" if one_in else f"{'-':>12}"
        lines.append(f"  {name:<28}{tally.checked:>10,}{tally.violations:>12,}{shows}")
        lines += [f"      {line}" for line in explain(tally.witness)]
    return "\n".join(lines)


def _crossing(crossing: Crossing) -> str:
    """Wrong answers and all, by who logged the session in and who was asked; only when there are any."""
    if not crossing.wrong:
        return ""
    names = crossing.workers
    cells = {
        pair: f"{crossing.wrong[pair]:,}/{count:,}" for pair, count in crossing.answers.items()
    }
    width = max(8, *(len(name) for name in (*names, *cells.values()))) + 2
    lines = [
        f"  {'wrong/all, logged in at':<26}"
        + "".join(f"{f'asked {name}':>{width + 6}}" for name in names)
    ]
    for home in names:
        row = "".join(f"{cells.get((home, asked), '0/0'):>{width + 6}}" for asked in names)
        lines.append(f"  {home:<26}{row}")
    return "\n".join(lines)


def _latencies(analysis: Analysis) -> str:
    head = f"  {'milliseconds':<28}{'count':>9}{'p50':>10}{'p95':>10}{'p99':>10}{'worst':>10}"
    rows = [
        f"  {kind:<28}{row.count:>9,}{row.p50:>10.3f}{row.p95:>10.3f}{row.p99:>10.3f}"
        f"{row.worst:>10.3f}"
        for kind, row in analysis.latencies.items()
    ]
    return "\n".join([head, *rows])


def _timeouts(analysis: Analysis) -> str:
    """Which of the timeouts this run was too short for."""
    lifetimes = analysis.lifetimes
    named = (("idle", lifetimes.idle_seconds), ("absolute", lifetimes.absolute_seconds))
    longer = [f"the {name} timeout of {n:g} s" for name, n in named if n > analysis.seconds]
    if not longer:
        return ""
    return f"  Not tried, as the run was shorter: that a session ends by {' and by '.join(longer)}."
