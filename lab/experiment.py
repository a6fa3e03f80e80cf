"""What experiments share: why one could not run, and a run that Ctrl-C ends with a report."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from lab.settings import WrongSetting
from lab.visitors import LoginFailed
from loadtest.load.preflight import NotReachable
from loadtest.verdict.verdict import Code

INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended
ENDS = (signal.SIGINT, signal.SIGTERM)


def exit_code_of(run: Callable[[], int]) -> int:
    """What `run` returns, or the load test's code for why it could not run, which is printed."""
    try:
        return run()
    except WrongSetting as error:
        return _refused(error, Code.HARNESS)
    except (NotReachable, LoginFailed) as error:
        return _refused(error, Code.NOT_REACHABLE)


def run_until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end; Ctrl-C and SIGTERM cancel `work`, which keeps what it has found."""

    async def cancellable() -> None:
        task = asyncio.ensure_future(work)
        for number in ENDS:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await task

    before = [signal.getsignal(number) for number in ENDS]
    try:
        asyncio.run(cancellable())
    finally:
        for number, handler in zip(ENDS, before, strict=True):
            signal.signal(number, handler)


def _refused(error: Exception, code: Code) -> Code:
    print(f"error: {error}", file=sys.stderr)
    return code
