"""What an operation asks of an app container, run in it by `docker compose exec`; answers are JSON."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.digest import digest
from deploy.operations.store import given_url, store_figures
from deploy.operations.visit import begin_session
from deploy.refused import Refused
from deploy.supervisor.container import container_workers
from deploy.supervisor.workers import Workers


def answer(action: str, argv: list[str]) -> int:
    """Print {"value": ...}, or {"error": ...} when it is refused."""
    try:
        said = {"value": ACTIONS[action](container_workers(), argv)}
    except Refused as error:
        said = {"error": str(error)}
    print(json.dumps(said), flush=True)
    return 0


def secrets() -> dict[str, str]:
    """A digest of each secret file of this container, by name."""
    return {path.name: digest(path) for path in Path("/run/secrets").iterdir()}


def status_url() -> str:
    """Where the workers' Redis is; of the stack's own, as the user that may ask for figures."""
    return given_url(os.environ).replace("://sessions@", "://status@")


def _store(*, count: bool) -> dict[str, Any]:
    return store_figures(status_url(), os.environ.get("SESSION_PREFIX", ""), count=count)


ACTIONS: dict[str, Callable[[Workers, list[str]], Any]] = {
    "ports": lambda workers, argv: workers.ports(),
    "taken": lambda workers, argv: workers.taken([int(text) for text in argv]),
    "start": lambda workers, argv: workers.start([int(text) for text in argv]),
    "stop": lambda workers, argv: workers.stop([int(text) for text in argv]),
    "restart": lambda workers, argv: workers.restart(int(argv[0])),
    "move-streams": lambda workers, argv: workers.move_streams(),
    "figures": lambda workers, argv: workers.figures(),
    "applied": lambda workers, argv: workers.applied(),
    "keep": lambda workers, argv: workers.keep(argv[0]),
    "secrets": lambda workers, argv: secrets(),
    "openssl": lambda workers, argv: ssl.OPENSSL_VERSION,
    "begin-session": lambda workers, argv: begin_session(os.environ),
    "store": lambda workers, argv: _store(count=True),
    "store-uncounted": lambda workers, argv: _store(count=False),
}
