"""What the checks cost: the same Locust users with and without them, turn by turn."""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one run."""

    requests_per_second: float
    cpu_milliseconds: float  # of the generator, a request


def measure(host: str, user: str, users: int, seconds: int, out: Path) -> Speed:
    """Run Locust with one kind of user and without pauses to spare: the generator is the limit."""
    options = {
        "--host": host, "--users": users, "--spawn-rate": users, "--run-time": seconds,
        "--stop-timeout": 30, "--loglevel": "ERROR", "--json-file": out / "locust",
    }  # fmt: skip
    arguments = [str(part) for option in options.items() for part in option]
    locust = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py")]
    command = [*locust, "--headless", "--only-summary", *arguments, user]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OUT": str(out), "RATE": "0"}
    out.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    rate = summary["locust_requests"] / summary["seconds"]
    return Speed(rate, 1000 * summary["cpu_share"] / rate)


@dataclass(frozen=True, slots=True)
class Cost:
    """Checked by plain; medians over the rounds."""

    checked: Speed
    plain: Speed

    @property
    def rate_ratio(self) -> float:
        """The share of the plain users' rate that checked ones reach."""
        return self.checked.requests_per_second / self.plain.requests_per_second

    @property
    def cpu_ratio(self) -> float:
        """The same by processor time alone: what the rate ratio is where nothing else is slow."""
        return self.plain.cpu_milliseconds / self.checked.cpu_milliseconds


def compare(host: str, users: int, seconds: int, rounds: int, out: Path) -> Cost:
    """Plain and checked in turns, so that a slower minute of the machine hits both."""
    speeds: dict[str, list[Speed]] = {"Plain": [], "Checked": []}
    for number in range(rounds):
        for user in sorted(speeds, reverse=number % 2 == 0):
            speeds[user].append(measure(host, user, users, seconds, out / user))
    return Cost(_median(speeds["Checked"]), _median(speeds["Plain"]))


def _median(speeds: list[Speed]) -> Speed:
    return Speed(
        statistics.median(speed.requests_per_second for speed in speeds),
        statistics.median(speed.cpu_milliseconds for speed in speeds),
    )
