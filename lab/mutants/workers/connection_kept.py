"""Broken on purpose: the connection is kept when Redis answers that it is no master any more."""

from __future__ import annotations

from app.sessions.wire import exchange
from lab.mutants.workers.start import start

if __name__ == "__main__":
    exchange.NOT_THE_MASTER = ()  # type: ignore[assignment]  # it names three
    start()
