"""How much memory a run holds, and how that grows with its length."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

TEN_MINUTES = 600


@dataclass(frozen=True, slots=True)
class Memory:
    """The most that one run held; MiB of all its processes together."""

    seconds: int
    requests: int
    loading: float
    judging: float  # and drawing the report, when the generator is gone


def in_ten_minutes(short: Memory, long: Memory) -> float:
    """The most that a ten-minute run at the same rate holds: measured, or a straight line on through
    two shorter runs."""
    requests = long.requests / long.seconds * max(TEN_MINUTES, long.seconds)
    phases = ((short.loading, long.loading), (short.judging, long.judging))
    slopes = [
        max(0.0, (after - before) / (long.requests - short.requests)) for before, after in phases
    ]
    further = requests - long.requests
    return max(after + slope * further for (_, after), slope in zip(phases, slopes, strict=True))


def measure(host: str, seconds: int, out: Path) -> Memory:
    """Run the load test as `make loadtest` does and watch it."""
    command = [sys.executable, "-m", "loadtest", "--host", host, "--out", str(out)]
    start = time.monotonic()
    with subprocess.Popen(
        [*command, "--duration", str(seconds)], stdout=subprocess.DEVNULL
    ) as process:
        samples = []
        while process.poll() is None:
            samples.append((time.monotonic() - start, *_mebibytes(process.pid)))
            time.sleep(0.25)
    counts = json.loads((out / "verdict.json").read_text(encoding="utf-8"))["counts"]
    loading = max(total for moment, total, _ in samples if moment <= seconds)
    return Memory(seconds, counts["requests"], loading, max(own for _, _, own in samples))


def _mebibytes(pid: int) -> tuple[float, float]:
    """Resident: a process with all it started, and it alone."""
    total = own = 0
    try:
        root = psutil.Process(pid)
        own = root.memory_info().rss
        total = own + sum(child.memory_info().rss for child in root.children(recursive=True))
    except psutil.NoSuchProcess:
        pass  # it has just ended
    return max(total, own) / (1 << 20), own / (1 << 20)
