"""Real workers, `python -m app --port N`, as tests start, ask, drain and read them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from deploy.paths import ROOT
from lab.testbed.servers import free_port, wait_until

START_SECONDS = 20
SECRET = "a-secret-of-these-tests-that-is-long-enough-for-any-worker"


def clean_environment(**settings: str) -> dict[str, str]:
    """What a worker needs of this process's environment, and `settings`; nothing of the machine's own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"} | settings


class Worker:
    """One worker process.  `settings` are environment variables, as in .env; `module` is what runs."""

    def __init__(self, folder: Path, redis_url: str, module: str = "app", **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.name = f"127.0.0.1:{self.port}"
        self.log_path = folder / f"worker-{self.port}.log"
        folder.mkdir(parents=True, exist_ok=True)
        given = {"REDIS_URL": redis_url, "SESSION_SECRETS": SECRET, "STACK_DIR": str(folder)}
        self._environment = clean_environment(**(given | settings))
        self.command = [sys.executable, "-m", module, "--port", str(self.port)]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Everything it has written to standard error, over all its starts."""
        return self.log_path.read_text()

    def start(self, **settings: str) -> None:
        """Start the process; `settings` replace those of before."""
        self._environment |= settings
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self._environment,
                stdout=log,
                stderr=log,
                cwd=self.log_path.parent,
            )

    def wait_ready(self) -> None:
        wait_until(lambda: self.readiness() == 200, seconds=START_SECONDS, what="a ready worker")

    def wait_live(self) -> None:
        wait_until(lambda: self.readiness() != 0, seconds=START_SECONDS, what="a live worker")

    def readiness(self) -> int:
        """The status of /readyz; 0 while nobody listens."""
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=2).status_code
        except httpx.TransportError:
            return 0

    def in_flight(self) -> int:
        """How many requests it is answering, beside the one that asks."""
        answer = httpx.get(f"{self.url}/readyz", trust_env=False, timeout=2)
        return int(answer.json()["in_flight"]) - 1

    def metric(self, name: str) -> float:
        """One figure of /metrics."""
        text = httpx.get(f"{self.url}/metrics", trust_env=False, timeout=2).text
        values = [
            line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")
        ]
        assert len(values) == 1, f"{name} in\n{text}"
        return float(values[0])

    def terminate(self) -> None:
        """Ask it to drain."""
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Its exit status, which has to come within `seconds`."""
        assert self.process is not None
        status = self.process.wait(seconds)
        self.process = None
        return status

    def stop(self) -> None:
        """End it at once; it may have ended already."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def unexpected(self) -> list[str]:
        """Lines of its log that no test may cause: traces, errors, and what is no JSON line at all."""
        return [
            line
            for line in self.log.splitlines()
            if '"trace"' in line or '"level":"error"' in line or not line.startswith("{")
        ]
