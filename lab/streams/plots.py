"""The picture: connections against memory, latency and delivery time, with the article's figures."""

from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.streams.results import MOST_P99_RATIO, Found, base_p99
from lab.streams.settings import ARTICLE
from lab.streams.stack import ROLES

COLOURS = {"worker": "#1f63b0", "nginx": "#1d7a41", "redis": "#b04a06"}
LEGEND: dict[str, Any] = {  # to the right of the article's marks
    "frameon": False,
    "loc": "upper left",
    "bbox_to_anchor": (0.19, 1.0),
}
LABELS = ("1,500: one process", "6,000: several")  # in the article


def draw(found: Found) -> Figure:
    """Four panels over the number of streams."""
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        panels = figure.subplots(2, 2)
        for axis, fill in zip(panels.flat, (_memory, _latency, _delivery, _connects), strict=True):
            fill(axis, found)
            _frame(axis, found)
    return figure


def _memory(axis: Axes, found: Found) -> None:
    axis.set_title("user-space memory for streams, MiB", loc="left")
    counts = [0, *(step.streams for step in found.steps)]
    for role in ROLES:
        sizes = [step.bytes_per_stream.get(role) for step in found.steps]
        if not sizes or None in sizes:
            continue
        known = [size or 0.0 for size in sizes]
        values = [0.0, *(n * size / 2**20 for n, size in zip(counts[1:], known, strict=True))]
        label = f"{role}: {known[-1] / 1024:.1f} KiB a stream"
        axis.plot(counts, values, "o-", color=COLOURS[role], label=label)
    if axis.lines:
        axis.legend(**LEGEND)


def _latency(axis: Axes, found: Found) -> None:
    axis.set_title("normal requests beside them, ms", loc="left")
    probes = [(0, found.zero), *((step.streams, step.probe) for step in found.steps)]
    known = [(count, probe) for count, probe in probes if probe is not None]
    counts = [count for count, _ in known]
    axis.plot(counts, [probe.p99 for _, probe in known], "o-", color="#b3174a", label="p99")
    axis.plot(counts, [probe.p50 for _, probe in known], "o-", color="#e08aa5", label="p50")
    if found.zero:
        goal = MOST_P99_RATIO * base_p99(found.zero, found.zero_again)
        axis.axhline(goal, color="black", linewidth=0.8, label="goal: twice p99 at 0")
    if found.zero_again:
        axis.plot([0], [found.zero_again.p99], "x", color="#b3174a", label="p99 at 0, afterwards")
    axis.legend(**LEGEND)


def _delivery(axis: Axes, found: Found) -> None:
    axis.set_title("one alert to every stream, s", loc="left")
    counts = [step.streams for step in found.steps]
    axis.plot(counts, [s.delivery_p99 for s in found.steps], "o-", color="#7d43a8", label="p99")
    axis.plot(counts, [s.delivery_p50 for s in found.steps], "o-", color="#c3a3da", label="p50")
    axis.legend(**LEGEND)


def _connects(axis: Axes, found: Found) -> None:
    axis.set_title("streams opened a second", loc="left")
    counts = [step.streams for step in found.steps]
    axis.plot(counts, [s.connects_per_second for s in found.steps], "o-", color="#0b7182")


def _frame(axis: Axes, found: Found) -> None:
    most = max([step.streams for step in found.steps] or [found.wanted]) * 1.05
    axis.set_xlim(0, most)
    axis.set_ylim(0, axis.get_ylim()[1] * 1.3)  # room for what is written at the top
    axis.set_xlabel("open event streams")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    for count, text in zip(ARTICLE, LABELS, strict=True):
        if count <= most:
            axis.axvline(count, color="black", linewidth=0.8, linestyle="--")
            place = (count, 1.0)
            axis.annotate(
                f" {text}",
                place,
                xycoords=("data", "axes fraction"),
                fontsize=7,
                rotation=90,
                va="top",
            )
