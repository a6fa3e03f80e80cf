"""A changed `.env`: what a restart of the workers applies, what it cannot, and that it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.native.scratch import Scratch, scratch_settings
from tests.conftest import UPSTREAM, StartStack
from tests.stack.operating import done, operate, run_module
from tests.stack.visitor import Visitor, new_visitor

pytestmark = pytest.mark.native
OLD, NEW = "an old secret, thirty-two letters", "a new secret of thirty-two letters"


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / "a file.env"


@pytest.mark.long
def test_keys_are_rotated(start_stack: StartStack, env_file: Path) -> None:
    """Both steps take effect with a rolling restart: after the second, nothing of the old key opens a session."""
    env_file.write_text(f"SESSION_SECRETS='{OLD}'\n")
    stack = start_stack(workers=2, ENV_FILE=str(env_file))
    with new_visitor(stack.url) as visitor:
        visitor.log_in()
        env_file.write_text(f"SESSION_SECRETS='{NEW},{OLD}'\n")
        first = done(stack, "rolling-restart")
        assert [visitor.get("/api/session").status_code for _ in range(4)] == [200] * 4

        env_file.write_text(f"SESSION_SECRETS='{NEW}'\n")
        second = done(stack, "rolling-restart")
        assert [visitor.get("/api/session").status_code for _ in range(4)] == [401] * 4

    for said in (first, second):
        assert said.splitlines()[-1] == "2 workers restarted; new settings: SESSION_SECRETS"
        assert "secret of" not in said


@pytest.mark.long
def test_restarted_without_a_change(stack: Scratch) -> None:
    """The last line says what was done, and nothing of settings where none has changed."""
    assert done(stack, "rolling-restart").splitlines()[-1] == "4 workers restarted"


@pytest.mark.long
def test_what_a_restart_cannot_apply(start_stack: StartStack, env_file: Path) -> None:
    """Settings of nginx, and those that the shell gave, are named with what it takes."""
    env_file.write_text("LOGIN_TRIES=3\n")
    stack = start_stack(workers=2, ENV_FILE=str(env_file), SESSION_MAX_FIELDS="9")
    env_file.write_text("NGINX_PROCESSES=2\nSESSION_MAX_FIELDS=10\nDRAIN_SECONDS=9\n")
    said = done(stack, "rolling-restart").splitlines()[-1]

    assert "new settings: LOGIN_TRIES;" in said
    assert (
        "not yet in effect: DRAIN_SECONDS, NGINX_PROCESSES, which `make stop` and `make run` apply"
        in said
    )
    assert "without effect: SESSION_MAX_FIELDS, which the shell gave to `make run`" in said


def test_wrong_settings_restart_nobody(start_stack: StartStack, env_file: Path) -> None:
    """A file that workers could not start with is refused before the first of them is touched."""
    env_file.touch()
    stack = start_stack(workers=2, ENV_FILE=str(env_file))
    for text, problem in {
        "LOGIN_TRIES=many": "LOGIN_TRIES=many is not a number",
        "LOGIN_TRIES: 3": "line 1: write LOGIN_TRIES=value",
    }.items():
        env_file.write_text(f"{text}\n")
        code, said = operate(stack, "rolling-restart")
        assert code == 1
        assert problem in said
        assert "1 of 2" not in said


@pytest.mark.long
def test_later_workers_get_the_settings_of_the_others(
    start_stack: StartStack, env_file: Path
) -> None:
    """A file edited and not applied changes no worker, not even one that is started after it."""
    env_file.write_text("DEMO_PASSWORD=first\n")
    stack = start_stack(workers=2, ENV_FILE=str(env_file))
    env_file.write_text("DEMO_PASSWORD=second\n")
    done(stack, "scale", "3")
    with new_visitor(stack.url) as visitor:
        form = {"username": "ann", "password": "second"}
        assert {visitor.post("/login", data=form).status_code for _ in range(6)} == {401}


def test_production_names_all_that_is_missing(tmp_path: Path) -> None:
    """A production start names every missing setting at once, and shows no line of an earlier log."""
    own = scratch_settings(tmp_path, UPSTREAM)
    logs = Path(own["STACK_DIR"]) / "logs"
    logs.mkdir(parents=True)
    (logs / "worker-8001.log").write_text("an old line\n")
    given = {"APP_ENV": "production", "DEMO_PASSWORD": "demo", "DEMO_ENDPOINTS": "1"}
    run = run_module("deploy", "run", **(own | given))
    assert run.returncode == 1
    for name in ("SESSION_SECRETS is not set", "DEMO_PASSWORD is set", "DEMO_ENDPOINTS is on"):
        assert name in run.stderr
    assert "has no users: make user NAME=" in run.stderr
    assert "an old line" not in run.stderr


@pytest.mark.long
def test_account_holds_at_once(start_stack: StartStack) -> None:
    """An account made while the stack runs can log in on every worker, and a new password replaces the old."""
    stack = start_stack()
    for number, password in enumerate(("a first password", "a second password")):
        added = add(stack, password)
        assert f"{stack.url} reads this file" in added, added
        with new_visitor(stack.url) as visitor:
            codes = [log_in(visitor, password) for _ in range(4)]
            assert codes == [302] * 4, number
            if number:
                assert log_in(visitor, "a first password") == 401


def log_in(visitor: Visitor, password: str) -> int:
    visitor.cookies.clear()
    return int(visitor.post("/login", data={"username": "ann", "password": password}).status_code)


def add(stack: Scratch, password: str) -> str:
    """What `make user NAME=ann` says."""
    own = {"STACK": "native", "STACK_DIR": str(stack.state)}
    return run_module("deploy", "user", "ann", typed=f"{password}\n", **own).stdout
