"""Starting a worker: wrong settings stop it with one line, and all workers share one demo secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.testbed.servers import RedisServer, free_port
from lab.testbed.workers import SECRET, clean_environment
from tests.integration.conftest import NewVisitor, StartWorkers


def start(
    folder: Path, module: str = "app", *more: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a worker that is expected to end by itself."""
    command = [sys.executable, "-m", module, *(more or ("--port", str(free_port())))]
    return subprocess.run(
        command,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=10,
        cwd=folder,
    )


WRONG = [
    ("APP_ENV", "live"), ("REDIS_URL", "http://127.0.0.1"), ("REDIS_URL", "redis://127.0.0.1:port"),
    ("REDIS_URL", "redis+cluster:/"), ("REDIS_TIMEOUT_SECONDS", "0"), ("REDIS_TIMEOUT_SECONDS", "x"),
    ("REDIS_TIMEOUT_SECONDS", "nan"), ("REDIS_TIMEOUT_SECONDS", "5"), ("SESSION_SECRETS", "a,a"),
    ("SESSION_SECRETS_FILE", "/nowhere/secret"), ("SESSION_IDLE_SECONDS", "0"),
    ("SESSION_IDLE_SECONDS", "half an hour"), ("SESSION_ABSOLUTE_SECONDS", "-1"),
    ("SESSION_ABSOLUTE_SECONDS", "inf"), ("SESSION_TOUCH_SECONDS", "-1"), ("SESSION_RENEW_SECONDS", "5"),
    ("SESSION_RENEW_GRACE_SECONDS", "0"), ("SESSION_MAX_PER_USER", "0"), ("SESSION_MAX_PER_USER", "1.5"),
    ("SESSION_MAX_BYTES", "10"), ("SESSION_MAX_FIELDS", "0"), ("DEMO_ENDPOINTS", "maybe"),
    ("USERS_FILE", "/nowhere/users"), ("DRAIN_SECONDS", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_settings(tmp_path: Path, name: str, value: str) -> None:
    """A wrong value stops the start with status 2 and one line that names the variable."""
    ended = start(tmp_path, **{name: value})
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("app: ")
    assert name in ended.stderr
    assert ended.stderr.count("\n") == 1


def production(folder: Path) -> dict[str, str]:
    users = folder / "users"
    users.write_text(
        "ann:$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$"
        "WfmXHW3HmBHsPLGzCYm0FLpN5XQq9DCZ5fUQ2MrKZ0k\n"
    )
    return {"APP_ENV": "production", "SESSION_SECRETS": SECRET, "USERS_FILE": str(users)}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"SESSION_SECRETS": ""}, "SESSION_SECRETS"),
        ({"SESSION_SECRETS": "short"}, "SESSION_SECRETS"),
        ({"SESSION_SECRETS": f"{SECRET},short"}, "SESSION_SECRETS"),
        ({"DEMO_PASSWORD": "demo"}, "DEMO_PASSWORD"),
        ({"DEMO_ENDPOINTS": "1"}, "DEMO_ENDPOINTS"),
        ({"USERS_FILE": ""}, "USERS_FILE"),
        ({"USERS_FILE": "/dev/null"}, "USERS_FILE"),
    ],
)
def test_production_refuses(tmp_path: Path, change: dict[str, str], named: str) -> None:
    """In production there is no demo login, no demo page, no made-up secret and no start without users."""
    ended = start(tmp_path, **(production(tmp_path) | change))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"app: {named}")
    assert ended.stderr.count("\n") == 1
    assert "short" not in ended.stderr.replace("at least", "")
    assert not (tmp_path / ".stack").exists()


async def test_production_starts(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor, tmp_path: Path
) -> None:
    """With users and a secret it starts; the demo password lets nobody in and /slow is not there."""
    (worker,) = start_workers(server.url, **production(tmp_path))
    form = {"username": "ann", "password": "demo"}
    assert (await new_visitor().post(worker, "/login", data=form)).status_code == 401
    assert (await new_visitor().get(worker, "/slow")).status_code == 404
    assert "demo" not in (await new_visitor().get(worker, "/login")).text


async def test_one_demo_secret(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor, tmp_path: Path
) -> None:
    """Eight workers that start at the same moment make one secret, mode 0600, and all trust its cookies."""
    state = tmp_path / "state"
    workers = start_workers(server.url, 8, SESSION_SECRETS="", STACK_DIR=str(state))
    (secret,) = [path for path in state.iterdir() if path.is_file()]  # beside the folder of logs
    assert secret.name == "session-secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert len(secret.read_text().strip()) >= 32
    visitor = await new_visitor().logged_in(workers[0])
    for worker in workers:
        assert await visitor.knows_me(worker)
        assert secret.read_text().strip() not in worker.log


def test_secret_from_a_file(tmp_path: Path) -> None:
    """A secret given both ways is refused; an empty or unreadable secret file is named."""
    (tmp_path / "secret").write_text(SECRET)
    both = start(tmp_path, SESSION_SECRETS=SECRET, SESSION_SECRETS_FILE=str(tmp_path / "secret"))
    assert (both.returncode, "SESSION_SECRETS_FILE" in both.stderr) == (2, True)
    (tmp_path / "session-secret").write_text("")
    empty = start(tmp_path, STACK_DIR=str(tmp_path))
    assert (empty.returncode, "session-secret" in empty.stderr) == (2, True)


def test_taken_port(tmp_path: Path, server: RedisServer) -> None:
    """A port that is taken is named in one line, status 1."""
    # Ignored: Tornado leaves a socket open.
    settings = {"SESSION_SECRETS": SECRET, "PYTHONWARNINGS": "ignore"}
    ended = start(tmp_path, "app", "--port", str(server.port), **settings)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(
        f"app: cannot listen on 127.0.0.1:{server.port}: "
    )
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "options",
    [("--port", "0"), ("--port", "x"), ("--port", "65536"), ("--host", "::1"), ("--help-me",)],
)
def test_wrong_options(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A wrong option is refused with the usage."""
    ended = start(tmp_path, "app", *options)
    assert ended.returncode == 2
    assert "usage" in ended.stderr


def test_check(tmp_path: Path) -> None:
    """`--check` says what a start would say of the settings, and does not start."""
    good = start(tmp_path, "app", "--check", SESSION_SECRETS=SECRET)
    wrong = start(tmp_path, "app", "--check", SESSION_SECRETS=SECRET, DRAIN_SECONDS="0")
    assert (good.returncode, good.stdout + good.stderr) == (0, "")
    assert wrong.returncode == 2
    assert "DRAIN_SECONDS" in wrong.stderr


async def test_end_sessions(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor, tmp_path: Path
) -> None:
    """An administrator ends all sessions of one user at once, and is told how many there were."""
    workers = start_workers(server.url, 2)
    visitors = [new_visitor() for _ in range(3)]
    for visitor, user in zip(visitors, ("ann", "ann", "bob"), strict=True):
        await visitor.log_in(workers[0], user)
    settings = {"REDIS_URL": server.url, "SESSION_SECRETS": SECRET}
    ended = start(tmp_path, "app.end_sessions", " ann ", **settings)
    assert (ended.returncode, ended.stdout) == (0, "2 sessions of ann ended\n")
    known = [await visitor.knows_me(worker) for worker in workers for visitor in visitors]
    assert known == [False, False, True] * 2
    again = start(tmp_path, "app.end_sessions", "ann", **settings)
    assert again.stdout == "0 sessions of ann ended\n"
    away = start(
        tmp_path, "app.end_sessions", "ann", **(settings | {"REDIS_URL": "redis://127.0.0.1:1"})
    )
    assert (away.returncode, away.stderr.count("\n")) == (1, 1)
    assert start(tmp_path, "app.end_sessions", "\n", **settings).returncode == 2
