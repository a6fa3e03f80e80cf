"""`make bench-loadtest`: what the load test costs, against what it may cost.

HOST is the stack to load. SECONDS=600 watches memory over ten minutes instead of projecting to them;
ROUNDS, ROUND_SECONDS and REQUESTS (the length of the history to check) make it longer or shorter.
Exit code 1 when a limit is missed.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lab.experiment import exit_code_of
from lab.loadtest_cost import memory, offline, rate
from lab.settings import whole

USERS = 150  # enough that the generator never waits for one of them
DEFAULTS = {"ROUNDS": 3, "ROUND_SECONDS": 8, "SECONDS": 60, "REQUESTS": 1_000_000}
LEAST_RATIO = 0.60
MOST_MEBIBYTES = 1024
MOST_SECONDS = 30


def main(environment: Mapping[str, str]) -> int:
    """Measure all three and print them."""
    host = environment["HOST"]
    rounds, round_seconds, seconds, requests = (
        whole(environment, name, default, 1, 10**9) for name, default in DEFAULTS.items()
    )
    with tempfile.TemporaryDirectory(prefix="bench-loadtest-") as name:
        folder = Path(name)
        cheap = _rate(rate.compare(host, USERS, round_seconds, rounds, folder))
        short = memory.measure(host, max(2, seconds // 5), folder / "short")
        small = _memory(short, memory.measure(host, seconds, folder / "memory"))
        fast = _offline(folder / "memory/history.jsonl", folder / "long.jsonl", requests)
    return 0 if cheap and small and fast else 1


def _rate(cost: rate.Cost) -> bool:
    for name, speed in (("without checks", cost.plain), ("with all checks", cost.checked)):
        print(
            f"{name:<17}{speed.requests_per_second:>8,.0f} requests/s,"
            f" {speed.cpu_milliseconds:.3f} ms of processor a request"
        )
    print(f"  by processor time: {cost.cpu_ratio:.0%}, the rate where only the generator is slow")
    return _line(
        "rate with checks",
        f"{cost.rate_ratio:.0%}",
        f">= {LEAST_RATIO:.0%}",
        cost.rate_ratio >= LEAST_RATIO,
    )


def _memory(short: memory.Memory, long: memory.Memory) -> bool:
    for run in (short, long):
        print(
            f"memory of {run.requests:,} requests in {run.seconds} s: {run.loading:.0f} MiB while loading,"
            f" {run.judging:.0f} while judging"
        )
    ten = memory.in_ten_minutes(short, long)
    how = "measured" if long.seconds >= memory.TEN_MINUTES else "a line on; SECONDS=600 measures"
    holds = ten < MOST_MEBIBYTES
    return _line(f"ten minutes, {how}", f"{ten:,.0f} MiB", f"< {MOST_MEBIBYTES:,}", holds)


def _offline(history: Path, target: Path, requests: int) -> bool:
    length = offline.enlarge(history, target, requests)
    processor, clock = offline.seconds_to_check(target)
    print(f"checked again after the run: {clock:.1f} s by the clock of this machine as it is")
    return _line(
        f"offline check of {length:,}, processor time",
        f"{processor:.1f} s",
        f"< {MOST_SECONDS}",
        processor < MOST_SECONDS,
    )


def _line(what: str, value: str, limit: str, holds: bool) -> bool:
    print(f"{what:<46}{value:>10}  {limit:<8} {'holds' if holds else 'MISSED'}", flush=True)
    return holds


if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: main(os.environ)))
