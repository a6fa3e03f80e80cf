"""What a run has shown, for a terminal and as one page."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.nemesis.judge import Judgement, proof
from lab.nemesis.losses import BEFORE_NS
from lab.nemesis.picture import draw
from lab.report import Part, machine, paragraphs, preformatted, table, write_report
from lab.table import as_markdown, as_text
from loadtest.check.op import Outcome
from loadtest.check.smallest import store_smallest

HEADER = (
    *("fault", "to what", "whole after", "requests", "failed"),
    *("longest without success: edge 1, 2", "back after", "violations"),
)
MOST_PROOFS = 5
SMALLEST = "smallest.jsonl"


def rows(found: Judgement) -> list[list[str]]:
    """One a fault, in the order they happened."""
    broken = Counter(one.fault for one in found.violations)
    return [
        [
            phase.fault,
            phase.what,
            f"{(phase.whole - phase.began) / 1e9:.1f} s",
            f"{figures.requests:,}",
            f"{figures.failed} ({figures.failed_share:.1%})",
            ", ".join(f"{seconds:.1f}" for seconds in figures.silent.values()) + " s",
            f"{figures.back:.1f} s",
            str(broken[phase.fault]),
        ]
        for phase, figures in found.measured
    ]


def as_table(found: Judgement, *, markdown: bool = False) -> str:
    return (as_markdown if markdown else as_text)(HEADER, rows(found))


def about(found: Judgement) -> list[str]:
    """What the whole run rests on, in sentences."""
    run, done = found.run, Counter(op.outcome for op in found.ops)
    checked = sum(tally.checked for tally in found.report.tallies.values())
    sentences = [
        f"{len(found.ops):,} requests of {len({op.session for op in found.ops}):,} sessions through"
        f" {len(run.edges)} edges ({run.stage}), seed {run.seed};"
        f" {done[Outcome.UNKNOWN]} of them may have happened, {done[Outcome.FAIL]} failed.",
        f"{checked:,} times a promise was held against an answer, by each of two checkers.",
    ]
    excused = [f"{phase.fault}: {phase.excuse}." for phase in found.run.phases if phase.excuse]
    return [*sentences, losses(found), *excused]


def losses(found: Judgement) -> str:
    """What failovers have cost, and why that is no violation."""
    lost, number = found.lost, found.run.acknowledged_by
    by_fault = Counter(found.run.during(op.returned + BEFORE_NS) for op in lost.every())
    where = "; ".join(f"{count} under {fault}" for fault, count in by_fault.items()) or "none"
    if number:
        return (
            f"SESSION_WRITES_ACKNOWLEDGED_BY={number}: no acknowledged write may be lost. {len(lost.shown)} reads had"
            f" shown a write that was never acknowledged and then was lost ({where}). That is allowed: reads wait for"
            " no replica."
        )
    return (
        f"SESSION_WRITES_ACKNOWLEDGED_BY=0: {len(lost.writes)} acknowledged writes and {len(lost.sessions)} new"
        f" sessions were lost in failovers ({where}). That is allowed: the answer had waited for no replica, and"
        " the new master had not been sent them. All else must hold, and a logout that was undone is a violation."
    )


def verdict(found: Judgement) -> str:
    if found.passed:
        count = len(found.measured)
        return f"PASS: {count} faults, no promise broken, every limit kept"
    lines = ["FAIL", *found.sentences()]
    if found.violations:
        lines.append(f"The smallest part of the history that still fails: {SMALLEST}")
    return "\n".join(lines)


def write(found: Judgement, folder: Path) -> Path:
    """The page, the same for machines, and the picture; after a violation the smallest history that still fails."""
    store_smallest(folder / SMALLEST, found.settled, found.lifetimes, found.report)
    proofs = [preformatted(proof(one)) for one in found.violations[:MOST_PROOFS]]
    parts: list[Part] = [
        *paragraphs(verdict(found).splitlines(), bad=not found.passed),
        *paragraphs(about(found)),
        draw(found.run, found.ops),
        table("Faults, and what visitors noticed", HEADER, rows(found)),
        *proofs,
        *paragraphs([machine()]),
    ]
    return write_report(folder, "Faults on purpose", parts, _content(found), {})


def _content(found: Judgement) -> dict[str, Any]:
    return {
        "passed": found.passed,
        "sentences": found.sentences(),
        "run": asdict(found.run),
        "measured": [
            {"fault": phase.fault, **asdict(figures)} for phase, figures in found.measured
        ],
        "violations": [[one.fault, str(one.invariant)] for one in found.violations],
        "lost": {
            "writes": len(found.lost.writes),
            "sessions": len(found.lost.sessions),
            "shown": len(found.lost.shown),
        },
        "checked": {str(name): tally.checked for name, tally in found.report.tallies.items()},
    }
