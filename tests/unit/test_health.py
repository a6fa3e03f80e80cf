"""When an app container says that it is healthy."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.supervisor.container_health import NOTICED_SECONDS, check_health


class Worker(BaseHTTPRequestHandler):
    """Answers like a worker that is ready, or is not."""

    ready = True

    def do_GET(self) -> None:
        self.send_response(200 if type(self).ready else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def worker() -> type[Worker]:
    """The class of requests to one worker; its `ready` may be changed."""

    class Own(Worker):
        pass

    return Own


@pytest.fixture
def folder(tmp_path: Path, worker: type[Worker]) -> Iterator[Path]:
    """supervisord's folder, with a program for that worker."""
    with HTTPServer(("127.0.0.1", 0), worker) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        (tmp_path / "programs").mkdir()
        (tmp_path / f"programs/worker-{server.server_port}.conf").touch()
        yield tmp_path
        server.shutdown()
        thread.join()


def test_at_once_without_nginx(folder: Path) -> None:
    """Where no nginx runs yet, nobody can hold that the workers refuse: ready is healthy."""
    assert check_health(folder, lambda: False) == 0


def test_nginx_is_given_time(folder: Path) -> None:
    """Where nginx runs, the workers have to be ready for longer than it takes to ask them again."""
    assert check_health(folder, lambda: True) == 1
    assert check_health(folder, lambda: True) == 1
    (folder / "ready").write_text(str(time.monotonic() - NOTICED_SECONDS))
    assert check_health(folder, lambda: True) == 0


def test_worker_that_is_not_ready(folder: Path, worker: type[Worker]) -> None:
    """A worker that is not ready makes the container unhealthy, and the time has not begun."""
    worker.ready = False

    assert check_health(folder, lambda: False) == 1
    assert not (folder / "ready").exists()


def test_later_only_readiness_counts(folder: Path, worker: type[Worker]) -> None:
    """A worker that was away, as in a rolling restart, is healthy again as soon as it is ready."""
    check_health(folder, lambda: False)
    worker.ready = False
    assert check_health(folder, lambda: True) == 1
    worker.ready = True
    assert check_health(folder, lambda: True) == 0
