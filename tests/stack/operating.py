"""Operations on a native stack as a user runs them, with the load of the proof behind it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from deploy.native.scratch import Scratch
from deploy.paths import ROOT
from lab.operations.load import Load, failures
from lab.operations.visitor import Result

RATE = 120.0  # what a slow machine does beside everything else
LEAST_REQUESTS = 300  # fewer would say nothing about a loss


def settings_of(stack: Scratch) -> dict[str, str]:
    """The environment in which a command means `stack`: its folder; the rest it finds out itself."""
    return {
        **os.environ,
        "ENV_FILE": "",
        "STACK": "native",
        "STACK_DIR": str(stack.folder / "state"),
    }


def run_module(*command: str, typed: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """`python -m COMMAND`, to its end, with these settings and nothing of where another stack may be."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "ENV_FILE": "", "HOST": "", **settings},
        input=typed,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def begin(stack: Scratch, *words: str) -> subprocess.Popen[str]:
    """`python -m deploy WORDS`, what it says readable from its stdout."""
    return subprocess.Popen(
        [sys.executable, "-m", "deploy", *words],
        cwd=ROOT,
        env=settings_of(stack),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def operate(stack: Scratch, *words: str) -> tuple[int, str]:
    """The exit code of `python -m deploy WORDS`, and what it said."""
    process = begin(stack, *words)
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def done(stack: Scratch, *words: str) -> str:
    """What a successful operation said."""
    code, said = operate(stack, *words)
    assert code == 0, said
    return said


def upstream_of(stack: Scratch) -> Path:
    return stack.folder / "upstream.conf"


def ports_of(stack: Scratch) -> list[int]:
    """The ports of the worker lines, in order."""
    return [
        int(port)
        for port in re.findall(r"^\s*server app:(\d+)", upstream_of(stack).read_text(), re.M)
    ]


def under_load(stack: Scratch, work: Callable[[], object]) -> list[Result]:
    """What a few hundred requests a second met while `work` ran; fails when a session is wrong."""

    async def run() -> list[Result]:
        load = Load(stack.url, RATE)
        await load.log_in()
        async with load.running():
            await _in_thread(work)
        wrong = [*await load.wrong_sessions(), *load.close()]
        assert wrong == []
        return load.results

    return asyncio.run(run())


def assert_nothing_lost(results: list[Result]) -> None:
    """Every request was answered with 2xx, reads and writes alike."""
    lost = failures(results, "GET") + failures(results, "POST")
    assert lost == {}
    assert len(results) > LEAST_REQUESTS


def _in_thread(work: Callable[[], object]) -> Awaitable[object]:
    return asyncio.to_thread(work)
