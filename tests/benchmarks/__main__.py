"""`make bench`: what a session costs a worker, as ratios, with the noise beside them.

QUICK=1 takes 40 seconds in place of three minutes; WRITE=1 puts the figures into the README.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from deploy.paths import ROOT
from tests.benchmarks import bench
from tests.benchmarks.generator import CONNECTIONS, Failed, Generator
from tests.benchmarks.table import as_markdown, as_text, table, write_block
from tests.integration.servers import RedisServer


def main() -> int:
    size = bench.QUICK if _asked("QUICK") else bench.FULL
    generator = Generator(wrk=size.seconds >= 1)
    try:
        rows, notes = measure(size, generator)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(as_text(rows), *notes, sep="\n")
    if _asked("WRITE"):
        write_block(ROOT / "README.md", "\n".join([as_markdown(rows), "", *notes]))
    return 0


def measure(size: bench.Size, generator: Generator) -> tuple[list[tuple[str, ...]], list[str]]:
    """The table's rows, and the sentences below it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder / "redis")
        try:
            server.start()
            with bench.handlers(server, folder) as targets:
                print(f"{size.rounds} rounds of {len(targets)} handlers ...", flush=True)
                samples = bench.rounds(targets, generator, size)
                counted = bench.commands(server, targets[-1])
            weight = asyncio.run(bench.bytes_at_rest(server, size.sessions))
            kind = _server_kind(server)
        finally:
            server.stop()
    fastest = max(sample.rate for sample in samples["read"])
    return table(bench.COMPARISONS, samples), [
        f"Medians of {size.rounds} rounds, with the lowest and the highest. One worker, "
        f"{generator.name} with {CONNECTIONS} connections and {bench.VISITORS} visitors, "
        f"{size.seconds:g} s a handler and round; the session read answered up to {fastest:.0f} a second.",
        f"Python {platform.python_version()}, Tornado {version('tornado')}, uvloop {version('uvloop')}, "
        f"{kind}, {os.cpu_count()} processors shared by the worker, Redis and the generator.",
        f"A session of three keys at rest, with its user's index: {weight:.0f} bytes of Redis "
        f"(mean of {size.sessions:,}). Commands to Redis a request: "
        + ", ".join(f"{what} {n}" for what, n in counted.items())
        + ".",
    ]


def _server_kind(server: RedisServer) -> str:
    about = server.admin.info("server")
    valkey = about.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {about['redis_version']}"


def _asked(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


if __name__ == "__main__":
    sys.exit(main())
