"""The load test as a container of the stack."""

from __future__ import annotations

import subprocess

from tests.compose.stack import Stack, answers, until

PROFILE = ("docker", "compose", "--profile", "loadtest", "run", "--rm", "-T")


def run(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    """`docker compose --profile loadtest run --rm loadtest`, whatever comes of it."""
    return stack.command(*PROFILE, *words)


def test_proves_the_stack(stack: Stack) -> None:
    """Two processes of it load the stack through nginx and find the workers that upstream.conf lists."""
    short = ("-e", "DURATION=8", "-e", "USERS=12", "-e", "PROCESSES=2")
    result = run(stack, *short, "loadtest")
    assert "expecting 4 workers, round_robin" in result.stdout
    assert " on 4 workers; " in result.stdout.splitlines()[-1]
    assert " 0 violations; " in result.stdout.splitlines()[-1]
    # 12: a machine that does other things meanwhile may be slow, and that is not what is asked here.
    assert result.returncode in (0, 12), result.stdout
    again = run(
        stack, "loadtest", "python", "-m", "loadtest.check.offline", "/results/history.jsonl"
    )
    assert again.returncode == 0, again.stdout


def test_two_containers_hold(stack: Stack) -> None:
    """Eight workers in two containers are no fault: every one has its turns, and no session is wrong."""
    two = {
        "APP_CONTAINERS": "2"
    }  # told both commands: each starts what the other ones need, and ends what is more
    up = ("docker", "compose", "up", "--detach", "--wait", "--no-recreate")
    short = ("-e", "DURATION=15", "-e", "WORKERS=8")
    try:
        assert stack.command(*up, **two).returncode == 0
        with stack.visitor() as browser:
            until(15, lambda: len(answers(browser, 16)) == 8)
        result = stack.command(*PROFILE, *short, "loadtest", **two)
    finally:
        stack.up()
    assert " on 8 workers; " in result.stdout.splitlines()[-1], result.stdout
    assert " 0 violations; " in result.stdout.splitlines()[-1]
    assert result.returncode in (0, 12), result.stdout  # 12: as above


def test_ends_with_the_verdict(stack: Stack) -> None:
    """The exit code is the load test's own: 14 when nothing answers at HOST."""
    result = run(stack, "-e", "HOST=http://127.0.0.1:9", "loadtest")
    assert result.returncode == 14, result.stdout


def test_without_privileges(stack: Stack) -> None:
    """It has the same hardening as the services of the stack."""
    script = "id -u; touch /srv/here 2>&1; grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status"
    said = run(stack, "loadtest", "sh", "-c", script).stdout
    assert said.splitlines()[0] == "10002"
    assert "Read-only file system" in said
    assert "CapBnd:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
