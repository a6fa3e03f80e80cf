"""CPU time of the stack's processes, where they are known, and how long this process waits for a processor."""

from collections.abc import Mapping
from pathlib import Path

import psutil

SCHEDULER = Path("/proc/self/schedstat")  # of Linux: nanoseconds run, nanoseconds ready and waiting


def cpu_seconds(parts: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds that each part, a process and its children, has used so far; those gone are left out."""
    found = {name: _spent(pid) for name, pid in parts.items()}
    return {name: seconds for name, seconds in found.items() if seconds is not None}


def run_and_waited() -> tuple[int, int]:
    """How long this thread has run, and how long it was ready to run and had no processor; zero where unknown."""
    try:
        run, waited, *_ = SCHEDULER.read_text().split()
    except (OSError, ValueError):
        return 0, 0
    return int(run), int(waited)


def since(before: Mapping[str, float], parts: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds that each part has used since `before`; those that ended meanwhile are left out."""
    now = cpu_seconds(parts)
    return {name: now[name] - before[name] for name in before if now.get(name, -1) >= before[name]}


def _spent(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    except psutil.Error:
        return None
    return sum(float(time.user + time.system) for time in times)
