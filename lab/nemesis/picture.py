"""The picture of a run: requests, latency, each edge and one witness over time, with every fault as a shaded band."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.nemesis.availability import NEEDS_NO_STORE, SERVED
from lab.nemesis.phases import Phase, Run
from loadtest.check.op import SHOWS, Kind, Op, Outcome
from loadtest.verdict.latency import percentile

STEP = 1.0  # second
BAND, REST = ("#f2b8a0", 0.5), ("#dbe4ee", 0.6)
GOOD, BAD, IDLE = "#2f6f9f", "#a51d18", "#e9edf2"
matplotlib.rcParams.update({"font.size": 9})


def draw(run: Run, ops: Sequence[Op]) -> Figure:
    """Bands are from a fault's beginning until the stack was whole; pale ones are when visitors rested."""
    start = min([*(op.invoked for op in ops), *(phase.began for phase in run.phases)], default=0)
    end = max([*(op.returned for op in ops), *(phase.ended for phase in run.phases)], default=start)
    figure = Figure(figsize=(13, 8.5), layout="constrained")
    rows = figure.subplots(4, 1, sharex=True, height_ratios=(3, 3, 1, 2))
    for axes, panel in zip(rows, (_requests, _latency, _edges, _witness), strict=True):
        panel(axes, run, ops, start)
        for phase in run.phases:
            for band, *edges in (
                (BAND, phase.began, phase.whole),
                (REST, phase.rested, phase.ended),
            ):
                left, right = ((edge - start) / 1e9 for edge in edges)
                axes.axvspan(left, right, color=band, linewidth=0, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    _name(rows[0], run.phases, start)
    rows[-1].set_xlim(0, max(STEP, (end - start) / 1e9))
    rows[-1].set_xlabel("seconds since the start")
    return figure


def _name(axes: Axes, phases: Sequence[Phase], start: int) -> None:
    place: dict[str, Any] = {"rotation": 55, "fontsize": 7, "ha": "left", "va": "bottom"}
    for phase in phases:
        axes.text((phase.began - start) / 1e9, axes.get_ylim()[1], phase.fault, **place)


def _requests(axes: Axes, run: Run, ops: Sequence[Op], start: int) -> None:
    served = Counter(_second(op.returned, start) for op in ops if op.outcome in SERVED)
    failed = Counter(_second(op.returned, start) for op in ops if op.outcome not in SERVED)
    times = range(max([*served, *failed], default=0) + 1)
    below, above = ([counts[t] for t in times] for counts in (served, failed))
    axes.bar(times, below, STEP, align="edge", color=GOOD, label="answered")
    axes.bar(times, above, STEP, bottom=below, align="edge", color=BAD, label="failed")
    axes.set_ylabel("requests a second")
    axes.legend(loc="upper right", frameon=True)


def _latency(axes: Axes, run: Run, ops: Sequence[Op], start: int) -> None:
    timed = sorted((_second(op.returned, start), (op.returned - op.invoked) / 1e6)
                   for op in ops if op.kind is not Kind.SLOW)  # fmt: skip
    rows = {
        second: [time for _, time in some] for second, some in groupby(timed, lambda one: one[0])
    }
    for share, style in ((0.5, "solid"), (0.99, "dashed")):
        figures = [percentile(times, share) for times in rows.values()]
        look: dict[str, Any] = {"linestyle": style, "color": GOOD, "linewidth": 1.4}
        axes.plot(list(rows), figures, label=f"{share:.0%} took at most", **look)
    axes.set_yscale("log")
    axes.set_ylabel("milliseconds")
    axes.legend(loc="upper right", frameon=True)


def _edges(axes: Axes, run: Run, ops: Sequence[Op], start: int) -> None:
    """A bar a second: whether anybody was served through it, of those who asked."""
    for row, edge in enumerate(run.edges):
        own = [op for op in ops if op.through == edge and op.kind not in NEEDS_NO_STORE]
        good = {_second(op.returned, start) for op in own if op.outcome in SERVED}
        bad = {_second(op.returned, start) for op in own if op.outcome not in SERVED}
        last = max(good | bad, default=0)
        colours = [GOOD if t in good else BAD if t in bad else IDLE for t in range(last + 1)]
        axes.bar(range(last + 1), [0.8] * (last + 1), STEP, bottom=row, align="edge", color=colours)
    numbers = range(len(run.edges))
    axes.set_yticks([row + 0.4 for row in numbers], [f"edge {row + 1}" for row in numbers])
    axes.set_ylim(0, len(run.edges))


def _witness(axes: Axes, run: Run, ops: Sequence[Op], start: int) -> None:
    """The session that was asked longest: each count that it was told, and by how many workers."""
    name = longest_witness(ops)
    own = [op for op in ops if op.session == name and op.key is None]
    told = [
        op for op in own if op.value is not None and (op.kind in SHOWS or op.kind is Kind.VISIT)
    ]
    workers = sorted({op.worker or "" for op in told})
    axes.scatter([(op.returned - start) / 1e9 for op in told], [op.value or 0 for op in told],
                 c=[workers.index(op.worker or "") % 10 for op in told], cmap="tab10", s=6)  # fmt: skip
    wrong = [(op.returned - start) / 1e9 for op in own if op.outcome not in SERVED]
    axes.scatter(wrong, [0] * len(wrong), color=BAD, marker="x", s=14, label="failed")
    axes.set_ylabel(f"visits of {name}")
    axes.legend(loc="upper left", frameon=True)


def longest_witness(ops: Sequence[Op]) -> str:
    """The session with most answers; nobody where there is none."""
    counted = Counter(op.session for op in ops if op.outcome is Outcome.OK)
    return max(counted, key=lambda name: counted[name], default="nobody")


def _second(moment: int, start: int) -> int:
    return int((moment - start) / 1e9 // STEP)
