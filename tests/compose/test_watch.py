"""The profile `watch`: Prometheus finds every worker in Docker, and Alertmanager hears of its alerts."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from tests.compose.stack import Stack, free_port

SERVICES = ("figures", "prometheus", "alertmanager")  # Grafana's image comes from a registry only


def soon(fact: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Return as soon as `fact` holds; a page that is not there yet is no answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if fact():
                return
        except (httpx.HTTPError, KeyError):
            pass
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def test_watch(stack: Stack) -> None:
    """Four workers and the stack's figures are scraped, and Prometheus has its rules and its Alertmanager."""
    page, alerts = (f"http://127.0.0.1:{port}" for port in (free_port(), free_port()))
    stack.environ |= {
        "PROMETHEUS_PORT": page.rpartition(":")[2],
        "ALERTMANAGER_PORT": alerts.rpartition(":")[2],
    }

    def get(what: str, **parameters: str) -> dict[str, object]:
        answer = httpx.get(f"{page}/api/v1/{what}", params=parameters, trust_env=False)
        data: dict[str, object] = answer.json()["data"]
        return data

    def query(expression: str) -> str:
        """The only value of an expression."""
        (one,) = get("query", query=expression)["result"] or [{"value": ["", ""]}]  # type: ignore[misc]
        return str(one["value"][1])

    def configured() -> str:
        status = httpx.get(f"{alerts}/api/v2/status", trust_env=False).json()
        return str(status["config"]["original"])

    try:
        stack.compose("--profile", "watch", "up", "--detach", "--no-deps", *SERVICES)
        soon(lambda: query('count(up{job="workers"} == 1)') == "4", "four workers")
        soon(lambda: query("site_serves") == query("store_up") == "1", "a stack that serves")
        soon(
            lambda: query("tls_certificate_expiry_timestamp_seconds > time()") != "",
            "a certificate",
        )
        assert len(get("rules")["groups"]) == 4  # type: ignore[arg-type]
        soon(lambda: get("alertmanagers")["activeAlertmanagers"] != [], "an Alertmanager")
        soon(lambda: "receiver: operator" in configured(), "an Alertmanager that answers")
    finally:
        stack.compose("--profile", "watch", "rm", "--force", "--stop", *SERVICES)
