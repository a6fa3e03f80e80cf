"""The container's health check: every worker that runs here must say that it is ready."""

from __future__ import annotations

import http.client
from pathlib import Path

from deploy.supervisor.programs import worker_ports


def readiness(port: int, *, host: str = "127.0.0.1", path: str = "/readyz") -> str | None:
    """None when GET `path` answers 200 within a second; otherwise what was heard instead."""
    connection = http.client.HTTPConnection(host, port, timeout=1)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read(500).decode("utf-8", "replace").strip()
        return None if response.status == 200 else f"{response.status} {text}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


def check_health(programs: Path) -> int:
    """Ask each worker that `programs` has a file for; 0 when all are ready, 1 with their names."""
    ports = worker_ports(programs)
    problems = {port: problem for port in ports if (problem := readiness(port))}
    for port, problem in problems.items():
        print(f"worker-{port}: {problem}")
    return 1 if problems or not ports else 0
