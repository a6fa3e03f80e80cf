"""Broken on purpose: the visitor of the request stands in a global variable across an await.

While one request waits, another one of the same worker puts its own visitor there.
"""

from __future__ import annotations

import asyncio

from app.handlers import api, main
from app.handlers.base import BaseHandler
from app.sessions import Session
from lab.mutants.workers.start import start

OTHER_SERVICE_SECONDS = 0.005

current: Session | None = None


async def remember_and_wait(handler: BaseHandler) -> None:
    """Write down who it is, wait for another service, and look up who it was."""
    global current
    current = handler.session
    await asyncio.sleep(OTHER_SERVICE_SECONDS)
    handler.session = current


class MixedUpInfo(api.SessionInfo):
    """GET /api/session"""

    async def get(self) -> None:  # type: ignore[override]
        await remember_and_wait(self)
        super().get()


class MixedUpPage(main.Main):
    """GET /"""

    async def get(self) -> None:  # type: ignore[override]
        await remember_and_wait(self)
        super().get()


if __name__ == "__main__":
    api.SessionInfo, main.Main = MixedUpInfo, MixedUpPage  # type: ignore[misc]
    start()
