"""The alarm rings: whole runs against a stack that is right, and against broken ones.

Each run is `python -m loadtest` in a process of its own, against a server of its own.
"""

import socket
from pathlib import Path

import pytest

from lab.testbed.loadtest import Run, load
from loadtest.check.history import read_ops
from loadtest.check.op import Invariant
from tests.unit.loadtest.runs import LONG_ENOUGH, SHORT, double


@pytest.mark.parametrize("kind", ["none", pytest.param("renews", marks=pytest.mark.long)])
def test_sound_stack_passes(kind: str, tmp_path: Path) -> None:
    """A stack that keeps its promises passes, new ids for old ones or not; the last line says what was proved."""
    with double(kind) as host:
        run = load(host, tmp_path, *LONG_ENOUGH)
    assert run.code == 0, run.printed
    assert run.printed.splitlines()[-1].startswith("PASS: ")
    assert "4 workers" in run.printed
    assert "would have shown with 95 %" in run.printed.splitlines()[-1]
    assert run.verdict["counts"]["difference"] <= 1
    assert [name for name, (checked, _) in counts_of(tmp_path).items() if not checked] == []


def counts_of(folder: Path) -> dict[str, tuple[int, int]]:
    """What a finished run checked, by invariant."""
    from loadtest.verdict.analysis import analyse

    return analyse(folder)[0].report.counts()


BROKEN_PROMISES = {
    "user in a global": {Invariant.IDENTITY},
    "a cache gives others' cookies": {Invariant.IDENTITY},
    "loses the last write": {Invariant.READ_YOUR_WRITES},
    "loses one write in a hundred": {Invariant.BOUNDS},
    "read cache": {Invariant.MONOTONIC_READS},
    "each worker counts": {Invariant.WRITES_FOLLOW_READS},
    "one worker starts anew": {Invariant.MONOTONIC_WRITES},
    "blind write": {Invariant.NO_LOST_UPDATE, Invariant.LINEARIZABLE_COUNTER},
    "applies twice": {Invariant.BOUNDS, Invariant.QUIESCENT_COUNT},
    "repeats count again": {Invariant.REPEAT_COUNTS_ONCE},
    "pages are cached": {Invariant.PAGE_IS_FRESH},
    "visits leave the version": {Invariant.VERSION_GROWS},
    "long values are cut": {Invariant.VALUE_AS_WRITTEN},
    "numbers become texts": {Invariant.VALUE_AS_WRITTEN},
    "only ASCII survives": {Invariant.VALUE_AS_WRITTEN},
    "keys lose their case": {Invariant.VALUE_AS_WRITTEN},
    "a new session has the old fields": {Invariant.VALUE_AS_WRITTEN},
    "nothing is written for nothing": {Invariant.NOTHING_VANISHES},
    "fields vanish at rest": {Invariant.NOTHING_VANISHES},
    "sessions vanish at rest": {Invariant.NO_PHANTOM_LOGOUT},
    "deleted fields come back": {Invariant.DELETE_IS_FINAL},
    "add overwrites": {Invariant.NO_LOST_UPDATE, Invariant.LINEARIZABLE_COUNTER},
    "add saves a blob": {Invariant.DELETE_IS_FINAL},
    "put saves other notes too": {Invariant.READ_YOUR_WRITES},
    "save re-creates after logout": {Invariant.LOGOUT_IS_FINAL},
    "save re-creates after end": {Invariant.END_IS_FINAL},
    "end forgets Redis": {Invariant.END_IS_FINAL},
    "end others leaves one": {Invariant.END_IS_FINAL},
    "end others ends all": {Invariant.NO_PHANTOM_LOGOUT},
    "logout ends all": {Invariant.NO_PHANTOM_LOGOUT},
    "a login ends the others": {Invariant.NO_PHANTOM_LOGOUT},
    "cap ends the newest": {Invariant.CAP_ENDS_OLDEST},
    "no cap": {Invariant.CAP_ENDS_OLDEST},
    "a list shows the ended": {Invariant.DEVICE_LIST},
    "a list forgets one": {Invariant.DEVICE_LIST},
    "a list names the wrong one": {Invariant.DEVICE_LIST},
    "racing logins share an id": {Invariant.NEW_ID_AT_LOGIN},
    "logout forgets Redis": {Invariant.LOGOUT_IS_FINAL},
    "login revives the old session": {Invariant.LOGOUT_IS_FINAL},
    "logout leaves the cookie": {Invariant.LOGOUT_CLEARS_COOKIE},
    "end all leaves the cookie": {Invariant.LOGOUT_CLEARS_COOKIE},
    "a miss clears the cookie": {Invariant.COOKIE_WHEN_DUE},
    "id kept at login": {Invariant.NEW_ID_AT_LOGIN},
    "old session survives login": {Invariant.NEW_ID_AT_LOGIN},
    "no idle timeout": {Invariant.LIFETIME},
    "use moves the absolute timeout": {Invariant.LIFETIME},
    "one worker does not touch": {Invariant.IDLE_MOVES},
    "no timeout ends a session": {Invariant.TIMEOUT_ENDS},
    "any password": {Invariant.WRONG_PASSWORD},
    "forged cookies work": {Invariant.NO_STRANGER},
    "worker memory": {Invariant.NO_PHANTOM_LOGOUT},
    "one worker has another key": {Invariant.NO_PHANTOM_LOGOUT},
    "forgets sometimes": {Invariant.NO_PHANTOM_LOGOUT},
}


@pytest.mark.long
@pytest.mark.parametrize(("fault", "invariants"), BROKEN_PROMISES.items())
def test_broken_promise_is_caught(fault: str, invariants: set[Invariant], tmp_path: Path) -> None:
    """Each broken stack ends the run with code 10, the invariant's name and a witness."""
    with double(fault) as host:
        run = load(host, tmp_path, *LONG_ENOUGH)
    assert run.code == 10, run.printed
    assert invariants <= run.broken, run.printed
    assert "VIOLATION of" in run.printed
    assert {code for code, _ in run.verdict["reasons"]} == {10}
    assert run.verdict["counts"]["checkers_agree"]
    assert (tmp_path / "smallest.jsonl").exists()


def test_every_promise_has_a_broken_stack() -> None:
    """No invariant is claimed that no broken server has tripped."""
    assert set().union(*BROKEN_PROMISES.values()) == set(Invariant)


OTHER_FAULTS = [  # the last four need each kind of request, or many of them
    ("sticky", SHORT, 11, "stick to their worker"),
    ("uneven", SHORT, 11, "times as many requests"),
    ("random", SHORT, 11, "this is no round robin"),
    ("worker missing", SHORT, 11, "3 workers answered, the upstream lists 4"),
    ("dies", SHORT, 13, "no login, "),
    ("errors", LONG_ENOUGH, 12, "requests failed"),
    ("one worker fails", LONG_ENOUGH, 12, "w2 failed"),
    ("one worker is slow", LONG_ENOUGH, 12, "w3 answered"),
    ("adds always give way", LONG_ENOUGH, 13, "no add ever succeeded"),
]


@pytest.mark.long
@pytest.mark.parametrize(("fault", "options", "code", "reason"), OTHER_FAULTS)
def test_other_fault_is_named(
    fault: str, options: tuple[str, ...], code: int, reason: str, tmp_path: Path
) -> None:
    """What is wrong without a broken promise has a code and a sentence of its own."""
    with double(fault) as host:
        run = load(host, tmp_path, *options)
    assert run.code == code, run.printed
    assert reason in run.reasons


@pytest.mark.long
def test_foreign_worker_is_named(tmp_path: Path) -> None:
    """A worker with another key is named, and a table shows who created against who was asked."""
    with double("one worker has another key") as host:
        run = load(host, tmp_path, *SHORT)
    assert run.code == 10, run.printed
    assert "w2 and the others do not know each other's sessions" in run.reasons
    assert "wrong/all, logged in at" in run.printed


def broken_run(folder: Path, *options: str) -> Run:
    with double("loses one write in a hundred") as host:
        return load(host, folder, *SHORT, *options)


@pytest.mark.long
def test_going_on(tmp_path: Path) -> None:
    """GO_ON=1 loads to the end of the run; otherwise the first violation ends it soon."""
    short = broken_run(tmp_path / "short")
    long = broken_run(tmp_path / "long", "--go-on", "1", "--duration", "9")
    assert long.code == short.code == 10
    assert "going on" in long.printed
    assert "stopping" in short.printed
    assert long.verdict["counts"]["requests"] > 1.3 * short.verdict["counts"]["requests"]


def test_smallest_history_still_fails(tmp_path: Path) -> None:
    """What is kept of a broken run is small, and judged alone it breaks the same promise."""
    from loadtest.check import offline

    broken_run(tmp_path)
    assert offline.main([str(tmp_path / "smallest.jsonl")]) == 10
    assert len(list(read_ops(tmp_path / "smallest.jsonl"))) < 40


@pytest.mark.long
def test_each_run_has_its_folder(tmp_path: Path) -> None:
    """A second run leaves the first one's history and users alone, and the usual names show the last one."""
    for _ in range(2):
        with double("sticky") as host:
            load(host, tmp_path, *SHORT)
    first, second = sorted((tmp_path / "runs").iterdir())
    assert (first / "history.jsonl").stat().st_size > 1000
    assert (tmp_path / "history.jsonl").samefile(second / "history.jsonl")
    users = [{op.user for op in read_ops(run / "history.jsonl")} for run in (first, second)]
    assert users[0] & users[1] == {"nobody"}


@pytest.mark.long
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
