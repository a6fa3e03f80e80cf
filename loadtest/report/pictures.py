"""The pictures of a report, drawn with matplotlib from its facts.

Dark text on light; the colours are those of Okabe and Ito, which stay apart for colour-blind readers,
and nothing is said by colour alone.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from loadtest.report.facts import Facts

INK, FAINT, ALARM = "#1a1a1a", "#d0d0d0", "#b00020"
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8c8c8c")
HATCHES = ("", "///", "...", "xxx")  # for more workers than colours
UNANSWERED = "no answer"
NOBODY: dict[str, Any] = {"facecolor": "white", "edgecolor": INK}  # where no worker is known
SHARES = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
COLOURS = 256  # of a PNG, as many as one byte a pixel can name
WIDTH = 9.0  # inches
STYLE: Any = {  # matplotlib types the name of every setting there is
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#606060",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "path",  # looks the same on every machine
    "svg.hashsalt": "report",  # and is the same file for the same run
}


def picture(draw: Callable[[Axes, Facts], None], facts: Facts, height: float) -> Figure:
    """One picture of its own."""
    with _style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.subplots(), facts)
        return figure


def overview(facts: Facts) -> Figure:
    """The three pictures of a run in one, for a README."""
    with _style():
        figure = Figure(figsize=(12, 8), layout="constrained")
        rows: Any = figure.subfigures(2, 1, hspace=0.06)
        below: Any = rows[1].subfigures(1, 2, width_ratios=(1, 1.25), wspace=0.04)
        draw_workers(rows[0].subplots(), facts)
        draw_hops(below[0].subplots(), facts)
        draw_latency(below[1].subplots(), facts)
        return figure


def as_svg(figure: Figure) -> str:
    """The SVG element alone, as HTML takes it, without a date or what drew it."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _style():
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def as_png(figure: Figure) -> bytes:
    """For places that show no SVG."""
    buffer = io.BytesIO()
    with _style():
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def draw_workers(axes: Axes, facts: Facts) -> None:
    """Answers over time, one layer a worker: round robin makes all layers equally thick."""
    interval, answers = facts.timeline["interval"], facts.timeline["answers"]
    unanswered = facts.timeline["unanswered"]
    starts = [index * interval for index in range(len(unanswered))]
    floor = [0.0] * len(starts)
    for look, name in zip(_looks(len(answers)), answers, strict=True):
        share = facts.workers[name] / max(1, sum(facts.workers.values()))
        label = f"{name}: {facts.workers[name]:,} ({share:.2%})"
        floor = _layer(axes, starts, answers[name], floor, interval, label=label, **look)
    if any(unanswered):
        look = {"facecolor": "white", "edgecolor": ALARM, "hatch": "\\\\\\"}
        label = f"{UNANSWERED}: {sum(unanswered):,}"
        _layer(axes, starts, unanswered, floor, interval, label=label, **look)
    axes.set_title("Answers of each worker over time", loc="left", weight="bold")
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel("requests a second" if interval == 1 else f"requests in {interval:g} s")
    axes.set_xlim(0, len(starts) * interval)
    _legend_outside(axes)


def draw_hops(axes: Axes, facts: Facts) -> None:
    """Which worker answered a session's next request: round robin leaves no empty cell."""
    names, most = list(facts.workers), max((n for row in facts.hops for n in row), default=0)
    # The lower half of the colour map only: dark text stays readable on it.
    edges = [column - 0.5 for column in range(len(names) + 1)]
    if names:
        look: Any = {"cmap": "Blues", "vmin": 0, "vmax": 2 * max(most, 1), "edgecolors": "white"}
        axes.pcolormesh(edges, edges, facts.hops, linewidth=1.5, **look)
        axes.invert_yaxis()
    ticks, size = range(len(names)), 10 if len(names) <= 6 else 7
    axes.set_xticks(ticks, [_port(name) for name in names], fontsize=size)
    axes.set_yticks(ticks, [_port(name) for name in names], fontsize=size)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("worker of the session's next request")
    axes.set_ylabel("worker of a request")
    title = f"Hops: {facts.hop_ratio:.1%} change the worker (by chance {facts.chance_hops:.0%})"
    axes.set_title(title, loc="left", weight="bold")
    for row, counts in enumerate(facts.hops):
        total = max(1, sum(counts))
        for column, count in enumerate(counts):
            text = f"{count:,}\n{count / total:.0%}" if len(names) <= 10 else f"{count / total:.0%}"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=INK)


def draw_latency(axes: Axes, facts: Facts) -> None:
    """Latency by share of requests; the axis gives each further nine as much room."""
    styles = ("solid", "dashed", "dashdot")
    colours = (PALETTE[5], PALETTE[0], PALETTE[2])
    for colour, style, (name, points) in zip(colours, styles, facts.curves.items(), strict=False):
        shares, times = zip(*points, strict=True)
        axes.plot(shares, times, color=colour, linestyle=style, linewidth=2, label=name)
    longest = max((points[-1][0] for points in facts.curves.values()), default=0.9)
    axes.set_xscale("function", functions=(_nines, _share))
    axes.set_xlim(0, longest)
    axes.set_xticks([share for share in SHARES if share <= longest])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.6g} %"))
    axes.set_title("Latency, without what is slow on purpose", loc="left", weight="bold")
    axes.set_xlabel("share of requests")
    _time_scale(axes, "milliseconds, at most", "lower right")


def draw_over_time(axes: Axes, facts: Facts) -> None:
    """Latency in each interval of the run: a stall that percentiles of the whole run hide shows here."""
    interval, rows = facts.timeline["interval"], facts.timeline["latency"]
    styles = ("solid", "dashed", "dashdot")
    for colour, style, (name, times) in zip(PALETTE, styles, rows.items(), strict=False):
        points = [(n * interval, time) for n, time in enumerate(times) if time is not None]
        axes.plot(*zip(*points, strict=True) if points else ((), ()), color=colour,
                  linestyle=style, linewidth=2, label=f"{name} took at most")  # fmt: skip
    axes.set_title("Latency over time", loc="left", weight="bold")
    axes.set_xlabel("seconds since the start")
    _time_scale(axes, "milliseconds", "upper right")


def _time_scale(axes: Axes, label: str, corner: Literal["lower right", "upper right"]) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda time, _: f"{time:g}"))
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_ylabel(label)
    if axes.lines:
        axes.legend(loc=corner, frameon=True, framealpha=0.9, edgecolor=FAINT, fontsize=9)


def draw_violation(axes: Axes, facts: Facts) -> None:
    """The requests around a witness as bars; those that prove the violation are marked."""
    assert facts.violation is not None
    requests = facts.violation["requests"]
    looks = dict(zip(facts.workers, _looks(len(facts.workers)), strict=True))
    first, last = requests[0]["from"], max(request["to"] for request in requests)
    least = (last - first) / 150  # a bar that can be seen
    for row, request in enumerate(requests):
        look = looks.get(request["worker"], NOBODY) | {"edgecolor": INK, "linewidth": 0.8}
        width = max(least, request["to"] - request["from"])
        axes.barh(row, width, left=request["from"], height=0.6, **look)
        if request["witness"]:
            axes.axhspan(row - 0.5, row + 0.5, color=ALARM, alpha=0.12, linewidth=0, zorder=0)
    axes.set_yticks(range(len(requests)), [_row_name(request) for request in requests])
    for label, request in zip(axes.get_yticklabels(), requests, strict=True):
        if request["witness"]:
            label.set(weight="bold", color=ALARM)
    axes.set_ylim(len(requests) - 0.5, -0.5)
    axes.set_xlim(first, last + 2 * least)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("milliseconds since the first request of the proof was sent")
    broken = facts.violation["invariant"]
    axes.set_title(f"Broken: {broken}", loc="left", weight="bold", color=ALARM)
    _legend_below(axes, looks, {request["worker"] for request in requests})


def _legend_below(axes: Axes, looks: dict[str, dict[str, Any]], names: set[str | None]) -> None:
    keys = [Patch(label=name, **look) for name, look in looks.items() if name in names]
    keys += [Patch(label=UNANSWERED, **NOBODY)] if None in names else []
    keys.append(Patch(label="proves it", facecolor=ALARM, alpha=0.12))
    axes.figure.legend(handles=keys, loc="outside lower center", ncols=4, frameon=False)


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(STYLE):
        yield


def _looks(count: int) -> list[dict[str, Any]]:
    """A colour for each worker, with a hatching once the colours are used up."""
    colours = len(PALETTE)
    return [
        {
            "facecolor": PALETTE[index % colours],
            "edgecolor": "white",
            "hatch": HATCHES[index // colours % len(HATCHES)],
        }
        for index in range(count)
    ]


def _layer(
    axes: Axes,
    starts: Sequence[float],
    counts: Sequence[int],
    floor: Sequence[float],
    width: float,
    **look: Any,
) -> list[float]:
    """Draw one layer of bars on `floor`; returns the next layer's floor."""
    axes.bar(starts, counts, width, bottom=floor, align="edge", linewidth=0.5, **look)
    return [low + count for low, count in zip(floor, counts, strict=True)]


def _legend_outside(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        # Top layer first, as the eye meets them.
        axes.legend(
            handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1, 1), frameon=False
        )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _row_name(request: dict[str, Any]) -> str:
    mark = "► " if request["witness"] else ""
    worker = f" on {_port(request['worker'])}" if request["worker"] else ""
    return f"{mark}#{request['number']} {request['text']}{worker}"


def _port(name: str) -> str:
    """The part of a worker's name that tells it from the others of the same host."""
    return name.rpartition(":")[2] or name


def _nines(share: Any) -> Any:
    """How far right a share stands: 50 % at 0.3, 90 % at 1, 99 % at 2."""
    return -numpy.log10(numpy.maximum(1 - numpy.asarray(share, dtype=float), 1e-9))


def _share(nines: Any) -> Any:
    return 1 - 10.0 ** -numpy.asarray(nines, dtype=float)
