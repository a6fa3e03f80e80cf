"""How much memory a run holds, and how that grows with its length."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

WARM = 0.3  # the share of a run after which growth counts: by then everything is loaded
TEN_MINUTES = 600


@dataclass(frozen=True, slots=True)
class Memory:
    """Of all processes of one run together; MiB."""

    seconds: int
    requests: int
    warm: float  # once everything is loaded
    loaded: float  # at the end of the load
    peak: float  # while the history is judged, too

    @property
    def in_ten_minutes(self) -> float:
        """The peak of a ten-minute run at this rate, if all growth goes on in a straight line."""
        growth = (self.loaded - self.warm) / (1 - WARM) + (self.peak - self.loaded)
        return self.warm + growth * max(1.0, TEN_MINUTES / self.seconds)


def measure(host: str, seconds: int, out: Path) -> Memory:
    """Run the load test as `make loadtest` does and watch it."""
    command = [sys.executable, "-m", "loadtest", "--host", host, "--out", str(out)]
    start = time.monotonic()
    with subprocess.Popen(
        [*command, "--duration", str(seconds)], stdout=subprocess.DEVNULL
    ) as process:
        samples = []
        while process.poll() is None:
            samples.append((time.monotonic() - start, _mebibytes(process.pid)))
            time.sleep(0.25)
    counts = json.loads((out / "verdict.json").read_text(encoding="utf-8"))["counts"]
    warm = max(size for moment, size in samples if moment <= WARM * seconds)
    loaded = max(size for moment, size in samples if moment <= seconds)
    peak = max(size for _, size in samples)
    return Memory(seconds, counts["requests"], warm, loaded, peak)


def _mebibytes(pid: int) -> float:
    """Resident, of a process and all it started."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # it has just ended
    return total / (1 << 20)
