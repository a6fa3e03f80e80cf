"""The load of the proof of operations: whatever a stack does wrong to a session is found by the checker."""

from __future__ import annotations

import asyncio
import urllib.request

import pytest

from lab.operations.load import Load, failures
from lab.operations.visitor import Result
from tests.unit.loadtest.runs import double

RATE = 200.0


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less patience than a real stack needs."""
    monkeypatch.setattr("lab.operations.load.WARM_SECONDS", 0.6)
    monkeypatch.setattr("lab.operations.visitor.AGAIN_SECONDS", 0.1)
    monkeypatch.setattr("lab.operations.visitor.SETTLE_SECONDS", 1.0)


def load(fault: str, before: int = 0) -> tuple[list[Result], list[str]]:
    """What a second of load met at a double that is broken in this way, and what was found wrong.

    So many requests are sent to it `before`: some faults count.
    """

    async def run(url: str) -> tuple[list[Result], list[str]]:
        load = Load(url, RATE)
        await load.log_in()
        async with load.running():
            pass
        return load.results, [*await load.wrong_sessions(), *load.close()]

    with double(fault) as url:
        for _ in range(before):
            urllib.request.urlopen(f"{url}/login").close()
        return asyncio.run(run(url))


def test_right_stack() -> None:
    """Nothing is lost and no session is wrong; reads and writes take turns."""
    results, wrong = load("none")
    assert wrong == []
    assert failures(results, "GET") + failures(results, "POST") == {}
    methods = [result.method for result in results]
    assert len(methods) > RATE / 2
    assert abs(methods.count("GET") - methods.count("POST")) <= 64


def test_failed_writes_are_sent_again() -> None:
    """Answers of 500 are losses; writes among them are repeated under their id, and no session is wrong."""
    for before, method in ((0, "GET"), (1, "POST")):  # each fiftieth request fails
        results, wrong = load("errors", before)
        assert set(failures(results, method)) == {"500"}
        assert wrong == []


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("loses the last write", "read your writes"),
        ("applies twice", "bounds"),
        ("each worker counts", "writes follow reads"),
        ("forgets sometimes", "no phantom logout"),
        ("no idle timeout", "lifetime within bounds"),
    ],
)
def test_wrong_session_is_found(fault: str, named: str) -> None:
    """Each broken promise is told with the session's user, its name, and the requests that prove it."""
    _, wrong = load(fault)
    assert wrong
    assert any(f" {named}: #" in text and text.startswith("load-") for text in wrong), wrong
