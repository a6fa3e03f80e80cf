"""`make bench` measures every row it promises; how fast anything is, is not asserted."""

from __future__ import annotations

import re

import pytest

from app.settings import COOKIE_NAME
from lab.cost import bench, scraped
from lab.cost.generator import Failed, Generator, Target
from lab.cost.measure import measure
from lab.testbed.workers import Worker

TINY = bench.Size(rounds=1, seconds=0.2, sessions=200)
BLOCKED_MS = 150


@pytest.mark.long
def test_every_row() -> None:
    """A tiny run has all comparisons with spread and goals, bytes at rest, and 0, 1 and 2 commands."""
    outcome = measure(TINY, Generator(wrk=False))
    rows = outcome.rows
    assert [row[0] for row in rows] == [one.what for one in bench.COMPARISONS]
    for row in rows:
        for cell in row[1:3]:
            assert re.fullmatch(r"\d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\)", cell)
    assert [row[3].partition(":")[0] for row in rows if row[3]] == [
        "at least 0.95",
        "at least 0.85",
        "at least 3.00",
        "at least 0.98",
    ]
    text = " ".join(outcome.facts)
    weight = re.search(r"index: (\d+) bytes of Redis", text)
    assert weight is not None
    assert 200 < int(weight[1]) < 2000
    assert "anonymous 0, read 1, write 2." in text


def test_a_wrong_answer_stops_it(workers: list[Worker]) -> None:
    """Answers that are not 200 make the run fail: fast errors would look like speed."""
    worker = workers[0]
    assert worker.process is not None
    stranger = Target(
        "stranger", worker.port, "/api/session", worker.process.pid, [f"{COOKIE_NAME}=nobody"]
    )
    with pytest.raises(Failed, match="not 200"):
        Generator(wrk=False).rate(stranger, 0.1)


async def test_scrapes_are_compared(workers: list[Worker]) -> None:
    """Every other turn has a scrape; one that blocks the worker shows in the p99 of its turn."""
    blocked = f"/slow?kind=block&ms={BLOCKED_MS}"
    p99, scrapes = await scraped.measure(workers[0].url, turns=2, seconds=0.5, scraped=blocked)

    assert (len(p99), len(scrapes)) == (2, 1)
    assert scrapes[0] >= BLOCKED_MS
    assert p99[1] > BLOCKED_MS / 2
    assert len((await scraped.measure(workers[0].url, turns=2, seconds=0.1))[1]) == 1
