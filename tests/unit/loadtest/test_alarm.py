"""The alarm rings: whole runs against a stack that is right, and against broken ones.

Each run is `python -m loadtest` in a process of its own, against a server of its own.
"""

import socket
from pathlib import Path

import pytest

from lab.testbed.loadtest import load
from loadtest.check.op import Invariant
from tests.unit.loadtest.runs import SHORT, double


def test_sound_stack_passes(tmp_path: Path) -> None:
    """A stack that keeps its promises passes, and the last line says what was proved."""
    with double("none") as host:
        run = load(host, tmp_path, *SHORT)
    assert run.code == 0, run.printed
    assert run.printed.splitlines()[-1].startswith("PASS: ")
    assert "4 workers" in run.printed
    assert run.verdict["counts"]["difference"] <= 1


BROKEN_PROMISES = {
    "user in a global": {Invariant.IDENTITY},
    "loses the last write": {Invariant.READ_YOUR_WRITES},
    "read cache": {Invariant.MONOTONIC_READS},
    "each worker counts": {Invariant.WRITES_FOLLOW_READS},
    "one worker starts anew": {Invariant.MONOTONIC_WRITES},
    "blind write": {Invariant.NO_LOST_UPDATE, Invariant.LINEARIZABLE_COUNTER},
    "applies twice": {Invariant.BOUNDS, Invariant.QUIESCENT_COUNT},
    "add overwrites": {Invariant.NO_LOST_UPDATE, Invariant.LINEARIZABLE_COUNTER},
    "add saves a blob": {Invariant.DELETE_IS_FINAL},
    "put saves other notes too": {Invariant.READ_YOUR_WRITES},
    "save re-creates after logout": {Invariant.LOGOUT_IS_FINAL},
    "save re-creates after end": {Invariant.END_IS_FINAL},
    "end forgets Redis": {Invariant.END_IS_FINAL},
    "end others ends all": {Invariant.NO_PHANTOM_LOGOUT},
    "racing logins share an id": {Invariant.NEW_ID_AT_LOGIN},
    "logout forgets Redis": {Invariant.LOGOUT_IS_FINAL},
    "id kept at login": {Invariant.NEW_ID_AT_LOGIN},
    "old session survives login": {Invariant.NEW_ID_AT_LOGIN},
    "no idle timeout": {Invariant.LIFETIME},
    "absolute timeout slides": {Invariant.LIFETIME},
    "worker memory": {Invariant.NO_PHANTOM_LOGOUT},
    "forgets sometimes": {Invariant.NO_PHANTOM_LOGOUT},
}


@pytest.mark.parametrize(("fault", "invariants"), BROKEN_PROMISES.items())
def test_broken_promise_is_caught(fault: str, invariants: set[Invariant], tmp_path: Path) -> None:
    """Each broken stack ends the run with code 10, the invariant's name and a witness."""
    with double(fault) as host:
        run = load(host, tmp_path, *SHORT)
    assert run.code == 10, run.printed
    assert invariants <= run.broken, run.printed
    assert "VIOLATION of" in run.printed
    assert "disagree" not in run.reasons


def test_every_promise_has_a_broken_stack() -> None:
    """No invariant is claimed that no broken server has tripped."""
    assert set().union(*BROKEN_PROMISES.values()) == set(Invariant)


OTHER_FAULTS = [
    ("sticky", 11, "stick to their worker"),
    ("uneven", 11, "times as many requests"),
    ("worker missing", 11, "3 workers answered, the upstream lists 4"),
    ("errors", 12, "requests failed"),
    ("dies", 13, "no login ever succeeded"),
    ("adds always give way", 13, "no add ever succeeded"),
]


@pytest.mark.parametrize(("fault", "code", "reason"), OTHER_FAULTS)
def test_other_fault_is_named(fault: str, code: int, reason: str, tmp_path: Path) -> None:
    """What is wrong without a broken promise has a code and a sentence of its own."""
    with double(fault) as host:
        run = load(host, tmp_path, *SHORT)
    assert run.code == code, run.printed
    assert reason in run.reasons


def test_sticky_run_under_another_policy_proves_nothing(tmp_path: Path) -> None:
    """Evenness is not judged for least_conn and says so, but a sticky run is still no pass."""
    with double("sticky") as host:
        run = load(host, tmp_path, *SHORT, "--policy", "least_conn")
    assert run.code == 13, run.printed
    assert "judged for round_robin only" in run.printed


def test_nothing_listening(tmp_path: Path) -> None:
    """Without a stack the code is 14 and the message says how to start one."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        run = load(f"http://127.0.0.1:{unused.getsockname()[1]}", tmp_path)
    assert run.code == 14
    assert "make run" in run.printed


def test_secure_cookie_over_http(tmp_path: Path) -> None:
    """A cookie that browsers would not send back is refused before the run, by name."""
    with double("secure cookie") as host:
        run = load(host, tmp_path)
    assert run.code == 14
    assert "Secure cookie" in run.printed


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--duration", "soon", "DURATION=soon"),
        ("--users", "0", "USERS=0"),
        ("--host", "localhost:8080", "HOST=localhost:8080"),
        ("--rate", "nan", "RATE=nan"),
        ("--weights", "1,0", "WEIGHTS=1,0"),
    ],
)
def test_wrong_setting(option: str, value: str, complaint: str, tmp_path: Path) -> None:
    """A wrong setting is named as the user of make knows it."""
    run = load("http://127.0.0.1:1", tmp_path, option, value)
    assert run.code == 2
    assert complaint in run.printed
