"""All generator processes as one: commands go to each, and what they answer is added up."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from lab.streams.pool import BUCKET_SECONDS


@dataclass(slots=True)
class Counts:
    """What has become of all streams."""

    open: int = 0
    wanted: int = 0
    lost: int = 0
    longest_away: float = 0.0  # seconds that any one stream was not open
    refused: Counter[str] = field(default_factory=Counter)
    tried: Counter[int] = field(default_factory=Counter)  # by half seconds, when a connect began
    connects: Counter[int] = field(default_factory=Counter)  # when it had become a stream

    @property
    def rate(self) -> float:
        """Connects a second until 99 % of them were made: a straggler or two say nothing of the rate."""
        total = sum(self.connects.values())
        done = 0
        for bucket in sorted(self.connects):
            done += self.connects[bucket]
            if done >= 0.99 * total:
                return done / (bucket - min(self.connects) + 1) / BUCKET_SECONDS
        return 0.0

    @property
    def peak_rate(self) -> float:
        """The most connects begun a second, over half a second, those that were refused included."""
        return max(self.tried.values(), default=0) / BUCKET_SECONDS

    @property
    def tries(self) -> list[int]:
        """Connects begun in each half second, from the first that saw one to the last."""
        if not self.tried:
            return []
        return [self.tried[n] for n in range(min(self.tried), max(self.tried) + 1)]


class Generators:
    """The generator processes.  They end with this object's block, or with this process."""

    def __init__(self, url: str, sources: Sequence[str]) -> None:
        self._url = url
        self._sources = sources
        self._processes: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        for source in self._sources:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "lab.streams.pool", self._url, source),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 26,
                start_new_session=True,  # a terminal's Ctrl-C is for the measuring process alone
            )
            self._processes.append(process)
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
        for process in self._processes:
            await process.wait()

    async def open(self, cookies: Sequence[str], seconds: float) -> Counts:
        """One more stream for each cookie, dealt out over the processes."""
        count = len(self._processes)
        parts = [{"cookies": list(cookies[n::count]), "seconds": seconds} for n in range(count)]
        return _sum(await self._all("open", *parts))

    async def delivered(self, seconds: float) -> tuple[list[int], int]:
        """When each stream received the mark, and how many are open."""
        answers = await self._all("delivered", {"seconds": seconds})
        moments = [moment for answer in answers for moment in answer["at"]]
        return sorted(moments), sum(answer["open"] for answer in answers)

    async def state(self) -> Counts:
        """What has happened since they were last told to forget."""
        return _sum(await self._all("state"))

    async def tell(self, do: str, **given: Any) -> None:
        """Have each do it: one of StreamPool's commands, of which no answer is needed."""
        await self._all(do, given)

    async def _all(self, do: str, *arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Give every process its arguments, or all of them the same."""
        each = arguments if len(arguments) > 1 else (arguments or ({},)) * len(self._processes)
        pairs = zip(self._processes, each, strict=True)
        return list(await asyncio.gather(*(_ask(p, {"do": do, **given}) for p, given in pairs)))


async def _ask(process: asyncio.subprocess.Process, command: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(command).encode() + b"\n")
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("a generator process has died; what it said is above")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _sum(answers: Sequence[dict[str, Any]]) -> Counts:
    counts = Counts()
    for answer in answers:
        counts.open += answer["open"]
        counts.wanted += answer["wanted"]
        counts.lost += answer["lost"]
        counts.longest_away = max(counts.longest_away, answer["longest_away"])
        counts.refused.update(answer["refused"])
        counts.tried.update({int(b): count for b, count in answer["tried"].items()})
        counts.connects.update({int(b): count for b, count in answer["connects"].items()})
    return counts
