"""What `make bench-loadtest` measures is what it says it measures."""

import json
from pathlib import Path

import pytest

from lab.loadtest_cost.memory import Memory, in_ten_minutes
from lab.loadtest_cost.offline import enlarge, seconds_to_check
from lab.loadtest_cost.rate import Cost, Speed, measure
from loadtest.check.history import HistoryWriter, read_ops
from loadtest.check.offline import check
from tests.unit.loadtest.histories import LIMITS, broken, simulate
from tests.unit.loadtest.runs import double


def test_long_history_is_a_correct_one(tmp_path: Path) -> None:
    """A history repeated by other sessions is as right as before, and has as many checks each time."""
    ops, _ = simulate([1, 2, 3])
    with HistoryWriter(tmp_path / "short.jsonl", LIMITS) as history:
        for op in ops:
            history.write(op)
    length = enlarge(tmp_path / "short.jsonl", tmp_path / "long.jsonl", 2 * len(ops) + 1)
    assert length == 3 * len(ops)
    report = check(read_ops(tmp_path / "long.jsonl"), LIMITS)
    assert broken(report) == set()
    once = check(ops, LIMITS).counts()
    assert report.counts() == {name: (3 * checked, 0) for name, (checked, _) in once.items()}
    processor, clock = seconds_to_check(tmp_path / "long.jsonl")
    assert 0 < processor < 60
    assert clock > 0


@pytest.mark.long
@pytest.mark.parametrize("user", ["Plain", "Checked"])
def test_both_kinds_of_users(user: str, tmp_path: Path) -> None:
    """Plain and checked users send the same kinds of requests; only the checked ones are recorded."""
    with double("none") as host:
        speed = measure(host, user, 9, 3, tmp_path)
    assert speed.requests_per_second > 10
    assert speed.cpu_milliseconds > 0
    sent = {row["name"] for row in json.loads((tmp_path / "locust.json").read_text())}
    assert {"login", "visit", "add", "put", "delete", "end device", "probe", "slow write"} <= sent
    recorded = json.loads((tmp_path / "summary.json").read_text())["requests"]
    assert (recorded > 0) == (user == "Checked")


def test_ratios() -> None:
    """Half the rate is 50 %; half the processor time a request is 200 %."""
    cost = Cost(checked=Speed(500, 1.0), plain=Speed(1000, 2.0))
    assert (cost.rate_ratio, cost.cpu_ratio) == (0.5, 2.0)


def test_projected_memory() -> None:
    """Two runs give a line, of loading and of judging; the higher of both after ten minutes counts."""
    short = Memory(seconds=10, requests=1_000, loading=80, judging=90)
    long = Memory(seconds=60, requests=6_000, loading=85, judging=100)
    assert in_ten_minutes(short, long) == pytest.approx(100 + 54 * 2)
    assert in_ten_minutes(short, Memory(600, 60_000, 139, 120)) == pytest.approx(139)
