"""Redis Cluster, through redis-py, which knows which node holds each slot.

A session and its user's index share a slot, so every call is whole on one node, and growing from one
server to a cluster is a change of REDIS_URL.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from redis.asyncio import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from .calls import Call, Command
from .server import Observe

SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
# redis-py cuts the error code off the text of the answers it has a class for.
CODES = {OutOfMemoryError: "OOM", ReadOnlyError: "READONLY", ClusterDownError: "CLUSTERDOWN"}


def is_cluster(url: str) -> bool:
    return url.partition(":")[0] in SCHEMES


class ClusterLink:
    """Sends each batch through redis-py's cluster pipeline, with its retries off and one time limit."""

    most_a_write = sys.maxsize  # a batch holds a connection to each node for itself

    def __init__(self, url: str, timeout_seconds: float, observe: Observe = None) -> None:
        scheme, colon, rest = url.partition(":")
        self._cluster = RedisCluster.from_url(
            SCHEMES[scheme] + colon + rest,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
        )
        self._timeout_seconds = timeout_seconds
        self._observe = observe
        self._batches: set[asyncio.Task[None]] = set()

    def send(self, calls: list[Call]) -> None:
        task = asyncio.get_running_loop().create_task(self._send(calls))
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._batches)
        await self._cluster.aclose()

    async def _send(self, calls: list[Call]) -> None:
        started = asyncio.get_running_loop().time()
        sent = False
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._cluster.initialize()
                sent = True
                answers = await self._answers(calls)
        except (RedisError, OSError, TimeoutError) as error:
            reason = str(error) or f"no answer from Redis within {self._timeout_seconds:g} s"
            for call in calls:
                call.fail(reason, may_have_happened=sent)
            return
        if self._observe is not None:
            self._observe(asyncio.get_running_loop().time() - started)
        for call, answer in zip(calls, answers, strict=True):
            _settle(call, answer)

    async def _answers(self, calls: list[Call]) -> list[Any]:
        """Run by name; what a node does not know by name did not run, and goes again in full."""
        answers = await self._exchange([call.request.command for call in calls])
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            again = await self._exchange([calls[i].request.in_full() for i in unknown])
            for i, answer in zip(unknown, again, strict=True):
                answers[i] = answer
        return answers

    async def _exchange(self, commands: list[Command]) -> list[Any]:
        pipeline = self._cluster.pipeline()
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers


def _settle(call: Call, answer: Any) -> None:
    if isinstance(answer, ResponseError):
        code = next((code for kind, code in CODES.items() if isinstance(answer, kind)), "")
        call.settle(Exception(f"{code} {answer}".lstrip()))
    elif isinstance(answer, Exception):
        call.fail(str(answer), may_have_happened=True)
    else:
        call.settle(answer)
