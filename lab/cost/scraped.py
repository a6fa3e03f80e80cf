"""Whether visitors notice a scrape: p99 with one every five seconds, and without.

`.venv/bin/python -m lab.cost.scraped`: one worker, requests that arrive on their own, and turns of five seconds, every
other one with a scrape in its middle.  QUICK=1 takes 40 seconds in place of four minutes.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from lab.client import Client
from lab.settings import switch
from lab.statistics import median_and_ends
from lab.testbed.servers import RedisServer
from lab.testbed.workers import Worker
from lab.visitors import FORM, login_form
from loadtest.load.answers import given_cookie
from loadtest.verdict.latency import percentile

RATE = 300.0  # requests a second
TURN = 5.0  # seconds; what `make watch` waits between two scrapes
TURNS, QUICK_TURNS = 48, 8


def main() -> int:
    """Print the p99 of both kinds of turns, and their ratio pair by pair."""
    turns = QUICK_TURNS if switch(os.environ, "QUICK") else TURNS
    with tempfile.TemporaryDirectory() as name:
        server = RedisServer(Path(name) / "redis")
        worker = Worker(Path(name), server.url)
        try:
            server.start()
            worker.start()
            worker.wait_ready()
            p99, scrapes = asyncio.run(measure(worker.url, turns))
        finally:
            worker.stop()
            server.stop()
    without, scraped = p99[0::2], p99[1::2]
    ratios = [one / other for one, other in zip(scraped, without, strict=True)]
    for what, values, unit in (
        ("p99 without a scrape", without, " ms"),
        ("p99 with one", scraped, " ms"),
        ("ratio, turn by turn", ratios, ""),
        ("the scrape itself", scrapes, " ms"),
    ):
        print(f"{what:<22}{median_and_ends(values)}{unit}")
    print(f"{turns} turns of {TURN:g} s, {RATE:g} requests a second to one worker")
    return 0


async def measure(
    url: str, turns: int, seconds: float = TURN, scraped: str = "/metrics"
) -> tuple[list[float], list[float]]:
    """The p99 of each turn, and how long each scrape took, in ms; every other turn has one, in its middle."""
    chance = random.Random(1)
    p99, scrapes = [], []
    async with Client(url) as client:
        answer = await client.request("POST", "/login", FORM, login_form("ann", "demo"))
        cookie = {"Cookie": given_cookie(answer.headers)}

        async def ask(path: str, due: float) -> float:
            answer = await client.request("GET", path, cookie)
            if answer.status != 200:
                raise ValueError(f"{path} was answered with {answer.status}")
            return (time.monotonic() - due) * 1000

        async def scrape() -> None:
            await asyncio.sleep(seconds / 2)
            scrapes.append(await ask(scraped, time.monotonic()))

        async def turn(has_scrape: bool) -> list[float]:
            """What each request took from the moment it was due, sorted."""
            asked, due = [], time.monotonic()
            end, between = due + seconds, asyncio.create_task(scrape()) if has_scrape else None
            while (due := due + chance.expovariate(RATE)) < end:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                asked.append(asyncio.create_task(ask("/api/session", due)))
            took = sorted(await asyncio.gather(*asked))
            if between:
                await between
            return took

        await turn(False)  # warms up
        for number in range(turns):
            p99.append(percentile(await turn(number % 2 == 1), 0.99))
    return p99, scrapes


if __name__ == "__main__":
    sys.exit(main())
