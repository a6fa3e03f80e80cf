"""What keeps `make compare` and `make longconn` from running, and the exit code that says so."""

import sys
from collections.abc import Callable

from loadtest.load.preflight import NotReachable
from loadtest.verdict.verdict import Code


class WrongSetting(ValueError):
    """A setting that cannot be used; the message names it."""


class LoginFailed(Exception):
    """A user could not log in; the message says what the stack answered."""


def exit_code_of(run: Callable[[], int]) -> int:
    """What `run` returns, or the code for why it could not run, which is printed."""
    try:
        return run()
    except WrongSetting as error:
        return _said(error, Code.HARNESS)
    except (NotReachable, LoginFailed) as error:
        return _said(error, Code.NOT_REACHABLE)


def _said(error: Exception, code: Code) -> Code:
    print(f"error: {error}", file=sys.stderr)
    return code
