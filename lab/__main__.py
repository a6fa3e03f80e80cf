"""`python -m lab NAME`: run one experiment; without a name, list them.

Each answers one question with one report, and is a target of the Makefile.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.native.options import read_environ
from deploy.output import never_silent, outlive_readers
from deploy.refused import Refused
from lab.experiment import INTERRUPTED, exit_code_of


def policies(_: Sequence[str]) -> int:
    """Round robin against four other policies (make compare)."""
    from lab.policies.compare import compare

    return compare(read_environ(os.environ))


def streams(_: Sequence[str]) -> int:
    """Thousands of event streams, and what they cost (make longconn)."""
    from lab.streams.longconn import hold_streams

    return hold_streams(read_environ(os.environ))


def operations(_: Sequence[str]) -> int:
    """What an operator's commands cost under load, ours and stock (make proof-operations)."""
    from lab.operations.prove import prove

    return prove(os.environ)


def failover(_: Sequence[str]) -> int:
    """What a failover of the store costs, by failure and setting (make proof-failover)."""
    from lab.failover.prove import prove

    return prove(os.environ)


def nemesis(folders: Sequence[str]) -> int:
    """Faults on purpose under load, and what visitors notice (make nemesis); FOLDER judges a stored run again."""
    from lab.nemesis.nemesis import again
    from lab.nemesis.nemesis import nemesis as hurt

    return again(Path(folders[0])) if folders else hurt(os.environ)


def cost(_: Sequence[str]) -> int:
    """What a session costs a worker (make bench)."""
    from lab.cost.measure import measure_and_print

    return measure_and_print(os.environ)


def loadtest_cost(_: Sequence[str]) -> int:
    """What the load test's checks and its memory cost (make bench-loadtest)."""
    from deploy.operations.with_stack import run_with_stack

    return run_with_stack((sys.executable, "-m", "lab.loadtest_cost"), os.environ)


def mutants(names: Sequence[str]) -> int:
    """Stacks broken on purpose, each of which the load test has to notice (make loadtest-mutants)."""
    from lab.mutants.__main__ import main as try_mutants

    return try_mutants(names)


def dashboards(_: Sequence[str]) -> int:
    """Grafana's pages as pictures, from the Prometheus of a running `make watch`."""
    from lab.dashboards import draw_dashboards

    return draw_dashboards(os.environ)


def hosts(words: Sequence[str]) -> int:
    """Eight hosts on this machine, until Ctrl-C; --clean removes what a killed one left."""
    from lab.hosts.show import show_hosts

    return show_hosts(words)


EXPERIMENTS: tuple[Callable[[Sequence[str]], int], ...] = (
    policies,
    streams,
    operations,
    failover,
    nemesis,
    cost,
    loadtest_cost,
    mutants,
    hosts,
    dashboards,
)
KNOWN = {experiment.__name__.replace("_", "-"): experiment for experiment in EXPERIMENTS}
TAKE_ARGUMENTS = (nemesis, mutants, hosts)
HELP = {"-h", "--help"}


def main(arguments: Sequence[str]) -> int:
    """The exit code of the experiment that the first argument names; 2 where it cannot be run like that."""
    name, *rest = arguments or [""]
    experiment = KNOWN.get(name)
    if HELP.intersection(arguments):
        print(_usage([name] if experiment else list(KNOWN)))
        return 0
    if experiment is None or (rest and experiment not in TAKE_ARGUMENTS):
        unknown = rest[0] if experiment else name
        error = f"error: {unknown!r} is not known here\n\n" if arguments else ""
        print(f"{error}{_usage(list(KNOWN))}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    outlive_readers()
    try:
        with never_silent():
            return exit_code_of(lambda: experiment(rest))
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _usage(names: Sequence[str]) -> str:
    lines = [f"  {name:<15}{KNOWN[name].__doc__}" for name in names]
    return "\n".join(
        ["usage: python -m lab NAME; settings are variables, such as QUICK=1\n", *lines]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
