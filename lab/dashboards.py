"""The dashboards as pictures: every panel at its place, drawn from its own query of a running Prometheus.

`make watch` beside a stack with visitors, and then `python -m lab dashboards`: what Grafana would show of the last
MINUTES (60).  The pictures are left in .stack/dashboards; WRITE=1 puts them into docs/.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from deploy.ask import NoAnswer
from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.watch.prometheus import FILES, Prometheus
from lab.settings import number, switch, whole

POINTS = 180
PLACEHOLDER = re.compile(r"{{(\w+)}}")
INCHES = 13 / 24  # a column of Grafana's grid, and a row
TEXT = "#1b2330"
SCALES = {"percentunit": (100, " %"), "s": (1000, " ms"), "bytes": (1 / 2**20, " MiB")}
Panel = dict[str, Any]


def draw_dashboards(environ: Mapping[str, str]) -> int:
    """A picture of each dashboard; Refused where no Prometheus that knows a worker listens on PROMETHEUS_PORT."""
    port = whole(environ, "PROMETHEUS_PORT", 9090, 1, 65535)
    prometheus, minutes = Prometheus(port), number(environ, "MINUTES", 60, 5, 1440)
    try:
        workers = prometheus.query('up{job="workers"} == 1')
    except NoAnswer as error:
        raise Refused(
            f"no Prometheus answers on port {port} ({error}): start `make watch`"
        ) from None
    if not workers:
        raise Refused(f"the Prometheus on port {port} knows no worker: `make run` beside it")
    worker = min(one["metric"]["worker"] for one in workers)
    folder = ROOT / ("docs" if switch(environ, "WRITE") else ".stack/dashboards")
    folder.mkdir(parents=True, exist_ok=True)
    for board in sorted((FILES / "grafana/dashboards").glob("*.json")):
        path = folder / f"watch-{board.stem}.png"
        text = board.read_text(encoding="utf-8").replace("$worker", worker)
        _draw(json.loads(text)["panels"], prometheus, minutes * 60).savefig(path, dpi=80)
        print(path)
    return 0


def _draw(panels: list[Panel], prometheus: Prometheus, seconds: float) -> Figure:
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(24 * INCHES, rows * INCHES * 0.7))
    until = time.time()
    for panel in panels:
        place = panel["gridPos"]
        left, bottom = place["x"] / 24, 1 - (place["y"] + place["h"]) / rows
        width, height = place["w"] / 24, place["h"] / rows
        axes = figure.add_axes(
            (left + 0.035, bottom + 0.45 / rows * 3, width - 0.05, height - 2.6 / rows)
        )
        axes.set_title(panel["title"], fontsize=10, loc="left", color=TEXT)
        if panel["type"] == "stat":
            _write(axes, panel, prometheus)
        else:
            _plot(axes, panel, prometheus, until - seconds, until)
    return figure


def _write(axes: Any, panel: Panel, prometheus: Prometheus) -> None:
    """The last value of each query, as Grafana's `stat`."""
    values = [
        float(series["value"][1])
        for target in panel["targets"]
        for series in prometheus.query(target["expr"])
    ]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    shown = " of ".join(_shown(value, unit) for value in values)
    axes.text(0, 0.35, shown, fontsize=20, color=TEXT, va="center")
    axes.set_axis_off()


def _shown(value: float, unit: str) -> str:
    if unit == "dateTimeFromNow":
        return f"{(time.time() - value / 1000) / 60:.0f} min ago"
    scale, name = SCALES.get(unit, (1, ""))
    return f"{_short(value * scale)}{name}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _plot(axes: Any, panel: Panel, prometheus: Prometheus, start: float, end: float) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    scale, name = SCALES.get(unit, (1, {"reqps": " /s", "ops": " /s"}.get(unit, "")))
    every = list(_series(panel, prometheus, start, end))
    for label, times, values in every:
        named = any(values) or not any(any(others) for *_, others in every)
        # A label that begins with _ is not in the legend: series that stay 0 beside others would fill it.
        axes.plot(
            times,
            [value * scale for value in values],
            linewidth=1,
            label=label if named else f"_{label}",
        )
    axes.set_xlim(datetime.fromtimestamp(start), datetime.fromtimestamp(end))
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)  # room for the legend
    locator = AutoDateLocator(maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.yaxis.set_major_formatter(lambda value, _: f"{_short(value)}{name}")
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=6, loc="upper left", ncols=2, framealpha=0.6)


def _series(
    panel: Panel, prometheus: Prometheus, start: float, end: float
) -> Iterator[tuple[str, list[datetime], list[float]]]:
    for target in panel["targets"]:
        for series in prometheus.over_time(target["expr"], start, end, POINTS):
            points = [(at, float(value)) for at, value in series["values"]]
            times = [datetime.fromtimestamp(at) for at, value in points if math.isfinite(value)]
            label = _filled(target["legendFormat"], series["metric"])
            yield label, times, [value for _, value in points if math.isfinite(value)]


def _filled(legend: str, labels: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: labels.get(match[1], ""), legend)
