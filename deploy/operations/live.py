"""`make status WATCH=1`: the running stack as `top` shows a machine, or a line every few seconds without a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

from deploy.operations.find import running_stack
from deploy.operations.rates import Rates, rates, spread
from deploy.operations.status import (
    ELSEWHERE,
    ago,
    collect,
    everybody,
    refusals,
    started,
    store_text,
    table,
)

LOOK_SECONDS = 2.0
LINE_SECONDS = 5.0
# The last two are beyond the 80th column.
HEADINGS = (
    *("worker", "state", "up", "restarts", "req/s", "share", "p99 ms", "err/s", "streams"),
    *("in flight", "p50 ms"),
)
RED, GREEN, YELLOW, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
COLOURS = {"ready": GREEN, "out of rotation": YELLOW}
# Another screen, and back; the cursor is of no use on it (ECMA-48, xterm's private modes 1049 and 25).
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, END_OF_LINE, END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def show_live(environ: Mapping[str, str]) -> int:
    """Look until Ctrl-C; the exit code is that of the last look: 0 when healthy."""
    draws = sys.stdout.isatty() and environ.get("TERM", "dumb") != "dumb"
    paints = draws and not environ.get("NO_COLOR")
    if draws:
        print(ENTER, end="")
    healthy = False
    before, then = None, time.monotonic()
    try:
        while True:
            with refusals():
                facts = collect(running_stack(environ, "status"), lightly=True)
            now = time.monotonic()
            workers = everybody(facts)
            found = rates(workers, before, now - then)
            healthy, before, then = facts["healthy"], workers, now
            if draws:
                _draw(screen(facts, found, paints=paints))
            else:
                print(line(facts, found), flush=True)
            time.sleep(LOOK_SECONDS if draws else LINE_SECONDS)
    except KeyboardInterrupt:
        return 0 if healthy else 1
    finally:
        if draws:
            print(LEAVE, end="", flush=True)


def screen(facts: Mapping[str, Any], found: Mapping[str, Rates], *, paints: bool) -> list[str]:
    """The lines of one look; the first look knows no rates yet, so those cells are empty."""
    rows = [_row(worker, found.get(worker["worker"])) for worker in everybody(facts)]
    lines = table([HEADINGS, *rows])
    if paints:
        lines[1:] = [_paint(text, row[1]) for text, row in zip(lines[1:], rows, strict=True)]
    nginx, total = facts["nginx"], _total(found)
    old = f", {nginx['old_generations']} older draining" if nginx["old_generations"] else ""
    state = "healthy" if facts["healthy"] else "\n".join(facts["problems"])
    if paints:
        state = f"{GREEN if facts['healthy'] else RED}{state}{PLAIN}"
    return [
        f"{time.strftime('%H:%M:%S')}  {facts['stack']}   Ctrl-C ends this",
        "",
        *lines,
        "",
        f"site      {total}",
        f"nginx     {nginx['processes']} processes, loaded {ago(nginx['generation_age_seconds'])} ago{old}",
        *f"redis     {store_text(facts['redis'], _keys)}".splitlines(),
        "",
        *state.splitlines(),
    ]


def line(facts: Mapping[str, Any], found: Mapping[str, Rates]) -> str:
    """The same in one line, without colour or movement of the cursor."""
    workers = everybody(facts)
    ready = sum(1 for worker in workers if worker["ready"])
    restarts = sum(worker.get("restarts", 0) for worker in workers)
    streams = sum(worker.get("streams", 0) for worker in workers)
    parts = [
        time.strftime("%H:%M:%S"),
        "healthy" if facts["healthy"] else f"NOT HEALTHY: {facts['problems'][0].splitlines()[0]}",
        f"workers {ready}/{len(workers)}, restarts {restarts}, streams {streams}",
        _total(found),
        f"redis {store_text(facts['redis'], _keys).splitlines()[0]}",
    ]
    return "  ".join(part for part in parts if part)


def _draw(lines: list[str]) -> None:
    """On one screen, whatever its size: what does not fit is left out."""
    columns, rows = shutil.get_terminal_size()
    shown = [_cut(text, columns) for text in lines[: rows - 1]]
    print(HOME + "".join(f"{text}{END_OF_LINE}\n" for text in shown) + END_OF_SCREEN, end="")
    sys.stdout.flush()


def _cut(text: str, columns: int) -> str:
    """The first `columns` characters; colours take no room."""
    start = next((c for c in (RED, GREEN, YELLOW) if text.startswith(c)), "")
    plain = text.removeprefix(start).removesuffix(PLAIN)
    return f"{start}{plain[:columns]}{PLAIN if start else ''}"


def _paint(text: str, state: str) -> str:
    return f"{COLOURS.get(state.removesuffix(ELSEWHERE), RED)}{text}{PLAIN}"


def _row(worker: Mapping[str, Any], lately: Rates | None) -> tuple[str, ...]:
    share = f"{lately.share:.1%}" if lately and lately.share is not None else "-"
    return (
        worker["worker"],
        *started(worker),
        f"{lately.requests:.0f}" if lately else "-",
        share,
        _ms(lately.p99 if lately else None),
        f"{lately.errors:.1f}" if lately else "-",
        str(worker.get("streams", "-")),
        str(worker.get("in_flight", "-")),
        _ms(lately.p50 if lately else None),
    )


def _total(found: Mapping[str, Rates]) -> str:
    if not found:
        return ""
    requests = sum(one.requests for one in found.values())
    errors = sum(one.errors for one in found.values())
    slowest = max((one.p99 for one in found.values() if one.p99 is not None), default=None)
    text = f"{requests:.0f} requests/s, {errors:.1f} errors/s, p99 of the slowest worker {_ms(slowest)} ms"
    uneven = spread(found.values())
    return text if uneven is None else f"{text}, busiest/idlest {uneven:.2f}"


def _keys(redis: Mapping[str, Any]) -> str:
    return f"{sum(server.get('keys', 0) for server in redis['servers'])} keys"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}"
