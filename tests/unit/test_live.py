"""`make status WATCH=1`: rates from two looks, and what of them fits on one screen or in one line."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.operations.live import line, screen
from deploy.operations.rates import quantile, rates, spread

BUCKETS = {"0.001": 0, "0.01": 90, "0.1": 99, "+Inf": 100}


def worker(name: str, requests: int, **more: Any) -> dict[str, Any]:
    """Figures of a worker that is well."""
    durations = {bound: count * requests // 100 for bound, count in BUCKETS.items()}
    known = {"worker": name, "requests": requests, "errors": 0, "durations": durations}
    about = {"state": "running", "ready": True, "in_rotation": True, "uptime_seconds": 61}
    return {**known, **about, "restarts": 0, "streams": 3, "in_flight": 1, **more}


def facts(**more: Any) -> dict[str, Any]:
    """Of a healthy stack of two workers."""
    redis = {"version": "valkey 9.1.2", "memory_bytes": 2 << 20, "memory_limit_bytes": 0}
    return {
        "stack": "the stack of `make run`",
        "healthy": True,
        "problems": [],
        "workers": [worker("127.0.0.1:8001", 300), worker("127.0.0.1:8002", 100)],
        "nginx": {"processes": 2, "generation_age_seconds": 5, "old_generations": 0},
        "redis": {**redis, "servers": [{"keys": 7}]},
        **more,
    }


def lately() -> dict[str, Any]:
    return dict(
        rates(facts()["workers"], [worker("127.0.0.1:8001", 100), worker("127.0.0.1:8002", 0)], 2)
    )


@pytest.mark.parametrize(
    ("share", "seconds"), [(0.45, 0.0055), (0.9, 0.01), (0.945, 0.055), (0.999, 0.1)]
)
def test_quantile(share: float, seconds: float) -> None:
    """A quantile lies on the straight line through its bucket; beyond the last bound it is that bound."""
    assert quantile(BUCKETS, share) == pytest.approx(seconds)
    assert quantile({}, share) is None


def test_rates() -> None:
    """What two seconds added, by worker, and the spread of it."""
    found = lately()

    assert [(one.requests, one.share) for one in found.values()] == [(100, 200 / 300), (50, 1 / 3)]
    assert spread(found.values()) == 2
    assert rates(facts()["workers"], None, 2) == {}


def test_restarted_worker() -> None:
    """Of a worker that has started since, all it has answered is new; one that does not answer has no rates."""
    before = [worker("a", 1000), worker("b", 1000)]
    now = [worker("a", 100), {"worker": "b", "ready": False, "state": "backoff"}]
    found = rates(now, before, 2)

    assert list(found) == ["a"]
    assert found["a"].requests == 50


def test_screen() -> None:
    """One line a worker with state, share, latency and streams, within 80 columns; the store below."""
    lines = screen(facts(), lately(), paints=False)

    assert lines[2][:80].split() == [
        "worker",
        "state",
        "up",
        "restarts",
        "req/s",
        "share",
        "p99",
        "ms",
        "err/s",
        "streams",
    ]
    assert lines[3][:80].split() == [
        "127.0.0.1:8001",
        "ready",
        "0:01:01",
        "0",
        "100",
        "66.7%",
        "100.0",
        "0.0",
        "3",
    ]
    assert any(text.startswith("redis     valkey 9.1.2, 2.0 MiB, 7 keys") for text in lines)
    assert lines[-1] == "healthy"
    assert "\x1b" not in "".join(lines)


def test_colours() -> None:
    """Painted, a worker that is not ready is red, and so are the problems; others are green."""
    broken = worker("127.0.0.1:8002", 100, ready=False, state="backoff")
    shown = facts(healthy=False, problems=["8002 is not ready"])
    shown["workers"][1] = broken
    lines = screen(shown, {}, paints=True)

    assert lines[3].startswith("\x1b[32m127.0.0.1:8001")
    assert lines[4].startswith("\x1b[31m127.0.0.1:8002")
    assert lines[-1] == "\x1b[31m8002 is not ready\x1b[0m"


def test_line() -> None:
    """Without a terminal the same is one line; a problem stands in it."""
    assert line(facts(), lately())[10:] == (
        "healthy  workers 2/2, restarts 0, streams 6  150 requests/s, 0.0 errors/s, "
        "p99 of the slowest worker 100.0 ms, busiest/idlest 2.00  redis valkey 9.1.2, 2.0 MiB, 7 keys"
    )
    assert "NOT HEALTHY: no worker" in line(facts(healthy=False, problems=["no worker\n  x"]), {})
