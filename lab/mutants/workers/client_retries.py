"""Broken on purpose: a call that Redis did not answer in time is sent again, up to ten times.

That is what redis-py does by default. A frozen Redis carries out every copy once it goes on, and the
counter, which here has no operation ids to tell them apart, is raised by each.
"""

from __future__ import annotations

import asyncio
from typing import Any

from app.sessions import Pipeline, RedisSessions, Session, StoreUnavailable
from app.sessions.wire.calls import Request
from lab.mutants.workers.start import start

TRIES = 10


class RetryingPipeline(Pipeline):
    """Sends again what may have happened already."""

    def send(self, request: Request) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._send(request))

    async def _send(self, request: Request) -> Any:
        for _ in range(TRIES - 1):
            try:
                return await super().send(request)
            except StoreUnavailable:
                pass
        return await super().send(request)


class ForgetfulSessions(RedisSessions):
    """Counts without operation ids."""

    async def increment(
        self, session: Session, key: str, by: int = 1, *, operation: str = ""
    ) -> int | None:
        return await super().increment(session, key, by)


if __name__ == "__main__":
    start(Pipeline=RetryingPipeline, RedisSessions=ForgetfulSessions)
