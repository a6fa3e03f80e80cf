"""Broken on purpose: a call that Redis did not answer in time is sent again, up to ten times.

That is what redis-py does by default. A frozen Redis carries out every copy once it goes on, and the
counter, which here has no operation ids to tell them apart, is raised by each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from app.sessions import Pipeline, RedisSessions, Session, StoreUnavailable
from app.sessions.calls import Command, Script
from tests.mutants.workers.start import start

TRIES = 10


class RetryingPipeline(Pipeline):
    """Sends again what may have happened already."""

    def run(self, script: Script, keys: Sequence[str], args: Command) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._run(script, keys, args))

    async def _run(self, script: Script, keys: Sequence[str], args: Command) -> Any:
        for _ in range(TRIES - 1):
            try:
                return await super().run(script, keys, args)
            except StoreUnavailable:
                pass
        return await super().run(script, keys, args)


class ForgetfulSessions(RedisSessions):
    """Counts without operation ids."""

    async def increment(
        self, session: Session, key: str, by: int = 1, *, operation: str = ""
    ) -> int | None:
        return await super().increment(session, key, by)


if __name__ == "__main__":
    start(Pipeline=RetryingPipeline, RedisSessions=ForgetfulSessions)
