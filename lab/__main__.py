"""`python -m lab NAME`: run one experiment; without a name, list them.

Each answers one question with one report, and is a target of the Makefile.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from deploy.native.options import read_environ
from deploy.refused import Refused

PYTHON = (sys.executable, "-m")


def policies(_: Sequence[str]) -> int:
    """Round robin against four other policies (make compare)."""
    from lab.policies.own_stack import run_with_policies

    return run_with_policies((*PYTHON, "lab.policies"), read_environ(os.environ))


def streams(_: Sequence[str]) -> int:
    """Thousands of event streams, and what they cost (make longconn)."""
    from lab.streams.own_stack import run_with_own_stack

    return run_with_own_stack((*PYTHON, "lab.streams"), read_environ(os.environ))


def operations(_: Sequence[str]) -> int:
    """What an operator's commands cost under load, ours and stock (make proof-operations)."""
    from lab.operations.prove import prove

    return prove(os.environ)


def cost(_: Sequence[str]) -> int:
    """What a session costs a worker (make bench)."""
    from lab.cost.sessions import main as measure

    return measure()


def loadtest_cost(_: Sequence[str]) -> int:
    """What the load test's checks and its memory cost (make bench-loadtest)."""
    from deploy.operations.with_stack import run_with_stack

    return run_with_stack((*PYTHON, "lab.loadtest_cost"), os.environ)


def mutants(names: Sequence[str]) -> int:
    """Stacks broken on purpose, each of which the load test has to notice (make loadtest-mutants)."""
    from lab.mutants.__main__ import main as try_mutants

    return try_mutants(names)


EXPERIMENTS: tuple[Callable[[Sequence[str]], int], ...] = (
    policies,
    streams,
    operations,
    cost,
    loadtest_cost,
    mutants,
)


def main(words: Sequence[str]) -> int:
    """The exit code of the experiment that the first word names."""
    known = {experiment.__name__.replace("_", "-"): experiment for experiment in EXPERIMENTS}
    experiment = known.get(words[0]) if words else None
    if experiment is None:
        print("usage: python -m lab NAME\n", file=sys.stderr)
        for name, each in known.items():
            print(f"  {name:<15}{each.__doc__}", file=sys.stderr)
        return 2
    try:
        return experiment(words[1:])
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # what a shell reports for a command that Ctrl-C ended


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
