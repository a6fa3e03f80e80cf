"""`make bench`: what a session costs a worker, as ratios, with the noise beside them.

QUICK=1 takes less than a minute in place of three; WRITE=1 puts the figures into docs/measurements.md;
PEERS=1 also measures what people would use instead, which it installs first; INSTRUCTIONS=1 also counts
instructions, where valgrind is installed, in a minute more.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lab.cost import bench, instructions
from lab.cost.generator import CONNECTIONS, Failed, Generator
from lab.cost.peers import run as peers
from lab.cost.ratios import HEADER, processor_times, rates, steady, table
from lab.measurements import write_block
from lab.settings import switch
from lab.table import as_markdown, as_text
from lab.testbed.servers import RedisServer

UNSTEADY = (
    "The machine was too busy for {} when this was measured: the same handler measured twice differed "
    "by more than it may (5 % in the median, 25 % in a round)."
)
SLIDING = (
    "In each of these, the idle lifetime of a session starts again at every request; ours moves it at most "
    "once a minute. Each is one process, on the same Redis, with its turn in every round."
)


@dataclass(frozen=True)
class Outcome:
    """Rows of the two tables, sentences about times and about the rest, and whether times mean anything."""

    rows: list[tuple[str, ...]]
    peers: list[tuple[str, ...]]
    times: str
    facts: list[str]
    steady_rates: bool
    steady_processor: bool

    @property
    def unsteady(self) -> list[str]:
        """What the machine was too busy for, in a sentence."""
        if self.steady_rates:
            return []
        return [UNSTEADY.format("answers a second" if self.steady_processor else "times")]

    def blocks(self) -> dict[str, str]:
        """For docs/measurements.md, by name: only what a machine was quiet enough for."""
        if not (self.steady_rates or self.steady_processor):
            return {"bench": "\n\n".join([*self.facts, *self.unsteady])}
        ours = as_markdown(HEADER, self._shown(self.rows))
        blocks = {"bench": "\n\n".join([ours, self.times, *self.unsteady, *self.facts])}
        if self.peers:
            theirs = as_markdown(HEADER[:3], [row[:3] for row in self._shown(self.peers)])
            blocks["bench-peers"] = "\n\n".join([theirs, SLIDING, *self.unsteady])
        return blocks

    def _shown(self, rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        return [(row[0], row[1] if self.steady_rates else "-", *row[2:]) for row in rows]


def measure_and_print(environ: Mapping[str, str]) -> int:
    """0 measured, whatever the figures are; 1 when it could not be."""
    size = bench.QUICK if switch(environ, "QUICK") else bench.FULL
    generator = Generator(wrk=size.seconds >= 1)
    try:
        outcome = measure(
            size,
            generator,
            others=peers.installed() if switch(environ, "PEERS") else (),
            count_instructions=switch(environ, "INSTRUCTIONS"),
        )
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(as_text(HEADER, [*outcome.rows, *outcome.peers]), outcome.times, sep="\n")
    print(*outcome.facts, *outcome.unsteady, sep="\n")
    if switch(environ, "WRITE"):
        for name, block in outcome.blocks().items():
            write_block(name, block)
    return 0


def measure(
    size: bench.Size,
    generator: Generator,
    *,
    others: Sequence[peers.Peer] = (),
    count_instructions: bool = False,
) -> Outcome:
    """Start a server, the workers and `others`, measure everything, end them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder / "redis")
        try:
            server.start()
            with (
                bench.handlers(server, folder) as ours,
                peers.running(others, server.url, bench.VISITORS) as theirs,
            ):
                targets = [*ours, *theirs]
                print(f"{size.rounds} rounds of {len(targets)} handlers ...", flush=True)
                samples = bench.rounds(targets, generator, size)
                samples |= bench.with_and_without_figures(
                    server, folder, ours[-1].cookies, generator, size
                )
                commands = bench.commands(server, ours[-1])
            weight = asyncio.run(bench.bytes_at_rest(server, size.sessions))
            counts = instructions.count(server.url, folder) if count_instructions else {}
            kind = _server_kind(server)
        finally:
            server.stop()
    twice = samples["bare again"], samples["bare"]
    quiet = steady(rates(*twice))
    fastest = max(sample.rate for sample in samples["read"])
    versions = peers.versions()
    return Outcome(
        rows=table(bench.COMPARISONS, samples, judge=quiet),
        peers=table([peer.comparison(versions) for peer in others], samples),
        times=f"Medians of {size.rounds} rounds, with the lowest and the highest. One worker, "
        f"{generator.name} with {CONNECTIONS} connections, {bench.VISITORS} visitors in turn, or "
        f"{bench.NEW_VISITORS:,} so that none is remembered when it comes again; {size.seconds:g} s a handler "
        f"and round. The session read answered up to {fastest:.0f} a second. {os.cpu_count()} processors, "
        "shared by the worker, Redis and the generator.",
        facts=[
            f"Python {platform.python_version()}, Tornado {version('tornado')}, "
            f"uvloop {version('uvloop')}, {kind}.",
            f"A session of three keys at rest, with its user's index: {weight:.0f} bytes of Redis "
            f"(mean of {size.sessions:,}). Commands to Redis a request: "
            + ", ".join(f"{what} {n}" for what, n in commands.items())
            + ".",
            *instruction_notes(counts),
        ],
        steady_rates=quiet,
        steady_processor=steady(processor_times(*twice)),
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
