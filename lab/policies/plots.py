"""The pictures: distribution curves with the model under them, mean latencies, and the trap."""

import math
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.policies.cells import Latencies
from lab.policies.policies import BY_NAME
from lab.policies.results import Outcome, Results
from lab.policies.trap import TITLES, Trapped

SHARES = (0.5, 0.9, 0.95, 0.99)
POINTS = 200
matplotlib.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def draw(results: Results) -> dict[str, Figure]:
    """The pictures of what was measured, by name."""
    drawn = {"curves": curves(results), "means": means(results)} if results.outcomes else {}
    return drawn | ({"trap": trap(results.trapped)} if results.trapped else {})


def curves(results: Results) -> Figure:
    """A panel a workload: latency over the share of fast requests, measured and simulated."""
    count = len(results.outcomes)
    rows = -(-(count + 1) // 3) if count > 1 else 1
    columns = min(3, count + 1)
    figure = Figure(figsize=(4.2 * columns, 3.4 * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(count + 1)]
    for axis, outcome in zip(axes, results.outcomes, strict=False):
        _panel(axis, outcome)
    handles, labels = axes[0].get_legend_handles_labels()
    axes[count].axis("off")
    axes[count].legend(
        handles, labels, loc="center", frameon=False, title="lines: measured\ndots: simulated"
    )
    return figure


def _panel(axis: Axes, outcome: Outcome) -> None:
    for name, entry in outcome.entries.items():
        policy = BY_NAME[name]
        title = policy.title + (" (invalid)" if entry.cell.invalid else "")
        if entry.cell.latencies:
            axis.plot(*_curve(entry.cell), color=policy.colour, label=title, linewidth=1.6)
        axis.plot(*_curve(entry.model), color=policy.colour, linestyle=":", linewidth=1.4)
    _milliseconds(axis)
    axis.set_xticks([_place(share) for share in SHARES], [f"p{share * 100:g}" for share in SHARES])
    axis.set_title(outcome.workload.title, loc="left", fontsize=10)
    axis.set_ylabel("latency from due time, ms")
    axis.grid(alpha=0.25)


def _milliseconds(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")


def _curve(source: Latencies) -> tuple[list[float], list[float]]:
    """Latency over percentile, the axis stretched towards the tail as HdrHistogram plots it."""
    most = 1 - 1 / max(20, min(1000, len(source.latencies)))
    places = [_place(most) * number / POINTS for number in range(POINTS + 1)]
    return places, [max(0.1, source.at(1 - 10**-place)) for place in places]


def _place(share: float) -> float:
    return -math.log10(1 - share)


def means(results: Results) -> Figure:
    """Mean latency of every policy under every workload: bars measured, diamonds simulated."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axis = figure.add_subplot()
    names = list(results.outcomes[0].entries)
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        policy = BY_NAME[name]
        at = [
            number + (index - (len(names) - 1) / 2) * width
            for number in range(len(results.outcomes))
        ]
        entries = [outcome.entries[name] for outcome in results.outcomes]
        heights = [entry.cell.mean if entry.cell.latencies else 0 for entry in entries]
        bars = axis.bar(at, heights, width * 0.9, color=policy.colour, label=policy.title)
        for bar, entry in zip(bars, entries, strict=True):
            if entry.cell.invalid:
                bar.set(fill=False, hatch="//", edgecolor=policy.colour)
        axis.plot(at, [entry.model.mean for entry in entries], "D", color="black", markersize=4)
    axis.plot([], [], "D", color="black", markersize=4, label="simulated")
    _milliseconds(axis)
    axis.set_ylim(bottom=0.5)
    axis.set_ylabel("mean latency of fast requests, ms")
    axis.set_xticks(
        range(len(results.outcomes)),
        [outcome.workload.title.replace(", ", ",\n") for outcome in results.outcomes],
    )
    axis.legend(frameon=False, ncols=4, loc="upper left")
    axis.margins(y=0.35)
    axis.grid(axis="y", alpha=0.25)
    return figure


def trap(trapped: Sequence[Trapped]) -> Figure:
    """The share of all requests that a worker failing at once draws to itself."""
    figure = Figure(figsize=(6, 2.2), layout="constrained")
    axis = figure.add_subplot()
    names = [TITLES[found.policy] for found in trapped]
    bars = axis.barh(names, [found.share * 100 for found in trapped], color="#b3174a", height=0.6)
    axis.bar_label(bars, [f" {found.share:.1%}" for found in trapped])
    axis.axvline(25, color="black", linewidth=0.8, linestyle="--")
    axis.set_xlim(0, 100)
    axis.set_xlabel("requests that failed, % (one worker of four answers 500 at once)")
    axis.invert_yaxis()
    return figure
