"""`make bench`: what a session costs a worker, as ratios, with the noise beside them.

QUICK=1 takes 40 seconds in place of two minutes; WRITE=1 puts the figures into the README;
INSTRUCTIONS=1 also counts instructions, where valgrind is installed, in a minute more.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from deploy.paths import ROOT
from lab.asked import asked
from lab.cost import bench, instructions
from lab.cost.generator import CONNECTIONS, Failed, Generator
from lab.cost.table import as_markdown, as_text, steady, table, write_block
from lab.testbed.servers import RedisServer

UNSTEADY = (
    "The machine was too busy for times when this was written: the same handler measured twice differed "
    "by more than it may (5 % in the median, 25 % in a round)."
)


@dataclass(frozen=True)
class Outcome:
    """The table's rows, sentences about times and about the rest, and whether the times mean anything."""

    rows: list[tuple[str, ...]]
    times: str
    facts: list[str]
    steady: bool

    def block(self) -> str:
        """For the README: times only from a machine that was quiet enough."""
        if self.steady:
            return "\n\n".join([as_markdown(self.rows), self.times, *self.facts])
        return "\n\n".join([*self.facts, UNSTEADY])


def main() -> int:
    size = bench.QUICK if asked(os.environ, "QUICK") else bench.FULL
    try:
        outcome = measure(
            size,
            Generator(wrk=size.seconds >= 1),
            count_instructions=asked(os.environ, "INSTRUCTIONS"),
        )
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(as_text(outcome.rows), outcome.times, *outcome.facts, sep="\n")
    if not outcome.steady:
        print(UNSTEADY)
    if asked(os.environ, "WRITE"):
        write_block(ROOT / "README.md", outcome.block())
    return 0


def measure(size: bench.Size, generator: Generator, *, count_instructions: bool = False) -> Outcome:
    """Start a server and the workers, measure everything, end them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder / "redis")
        try:
            server.start()
            with bench.handlers(server, folder) as targets:
                print(f"{size.rounds} rounds of {len(targets)} handlers ...", flush=True)
                samples = bench.rounds(targets, generator, size)
                asked = bench.commands(server, targets[-1])
            weight = asyncio.run(bench.bytes_at_rest(server, size.sessions))
            counts = instructions.count(server.url, folder) if count_instructions else {}
            kind = _server_kind(server)
        finally:
            server.stop()
    quiet = steady(samples["bare again"], samples["bare"])
    fastest = max(sample.rate for sample in samples["read"])
    return Outcome(
        rows=table(bench.COMPARISONS, samples, judge=quiet),
        times=f"Medians of {size.rounds} rounds, with the lowest and the highest. One worker, "
        f"{generator.name} with {CONNECTIONS} connections and {bench.VISITORS} visitors, {size.seconds:g} s "
        f"a handler and round; the session read answered up to {fastest:.0f} a second. "
        f"{os.cpu_count()} processors, shared by the worker, Redis and the generator.",
        facts=[
            f"Python {platform.python_version()}, Tornado {version('tornado')}, "
            f"uvloop {version('uvloop')}, {kind}.",
            f"A session of three keys at rest, with its user's index: {weight:.0f} bytes of Redis "
            f"(mean of {size.sessions:,}). Commands to Redis a request: "
            + ", ".join(f"{what} {n}" for what, n in asked.items())
            + ".",
            *instruction_notes(counts),
        ],
        steady=quiet,
    )


def instruction_notes(counts: dict[str, int]) -> list[str]:
    """The same comparisons, as far as they were counted."""
    compared = [one for one in bench.COMPARISONS if {one.this, one.that} <= counts.keys()]
    ratios = [f"{one.what} {counts[one.that] / counts[one.this]:.2f}" for one in compared]
    if not ratios:
        return []
    return [
        "By the instructions a request takes in the worker, counted by valgrind and the same on a busy "
        f"machine, though without the kernel's: {'; '.join(ratios)}."
    ]


def _server_kind(server: RedisServer) -> str:
    about = server.admin.info("server")
    valkey = about.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {about['redis_version']}"


if __name__ == "__main__":
    sys.exit(main())
