"""The commands behind the Makefile: `python -m deploy COMMAND --help` explains each."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from deploy.refused import Refused

# Each command imports what it needs when it runs: the app image has no native servers installed.


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.command(given) or 0)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # what a shell reports for a command that Ctrl-C ended


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Callable[[argparse.Namespace], int | None]) -> argparse.ArgumentParser:
        summary, _, rest = (command.__doc__ or "").partition("\n")
        name = command.__name__.replace("_", "-")
        sub = commands.add_parser(name, help=summary, description=f"{summary} {rest}")
        sub.set_defaults(command=command)
        return sub

    for command in (run, stop, logs, check, container, health, https):
        add(command)
    add(user).add_argument("name", help="1 to 64 printable characters")
    add(end_sessions).add_argument("name", help="the user, as shown after logging in")
    for wrapper in (with_stack, with_policies, with_own_stack):
        add(wrapper).add_argument("words", nargs="+", metavar="COMMAND", help="written after --")
    return parser


def run(_: argparse.Namespace) -> None:
    """Run the whole stack without Docker, in the foreground.

    Ctrl-C stops all of it.
    """
    from deploy.native.options import read_environ, read_options
    from deploy.native.run import run as run_stack

    environ = read_environ(os.environ)
    run_stack(read_options(environ), environ)


def stop(_: argparse.Namespace) -> None:
    """Stop the stack that `run` started in another terminal.

    Clears up after one that was killed, too.
    """
    from deploy.native.options import read_environ, read_options
    from deploy.native.stop import stop as stop_stack

    stop_stack(read_options(read_environ(os.environ)))


def logs(_: argparse.Namespace) -> None:
    """Follow the logs of the stack."""
    from deploy.native.logs import follow_logs
    from deploy.native.options import read_environ, read_options

    follow_logs(read_options(read_environ(os.environ)))


def check(_: argparse.Namespace) -> None:
    """Test nginx/ and say what upstream.conf means; nothing is changed."""
    from deploy.native.check import check as check_nginx
    from deploy.native.options import read_environ, read_options

    check_nginx(read_options(read_environ(os.environ)))


def user(given: argparse.Namespace) -> None:
    """Add an account to USERS_FILE, or change its password.

    Asks for the password, or reads it from standard input when that is not a terminal.
    """
    from deploy.native.options import read_environ, read_options
    from deploy.native.users import set_user

    environ = read_environ(os.environ)
    set_user(given.name, read_options(environ), environ)


def end_sessions(given: argparse.Namespace) -> int:
    """End every session of one user at once, in the stack that runs from this folder.

    Without Docker beside `make run`, with it in the app container; REDIS_URL names another place.
    """
    from deploy.end_sessions import end_sessions as end_sessions_of
    from deploy.native.options import read_environ, read_options

    environ = read_environ(os.environ)
    return end_sessions_of(given.name, read_options(environ), environ)


def with_stack(given: argparse.Namespace) -> int:
    """Run a command against the running stack, or against one started for it.

    The command finds HOST, WORKERS, WEIGHTS and POLICY in its environment; its exit code is returned.
    """
    from deploy.native.options import read_environ, read_options
    from deploy.native.with_stack import run_with_stack

    environ = read_environ(os.environ)
    return run_with_stack(given.words, read_options(environ), environ)


def with_policies(given: argparse.Namespace) -> int:
    """Run a command where every balancing policy has an address of its own.

    The command finds FRONTS in its environment, and its exit code is returned.
    """
    from deploy.native.options import read_environ, read_options
    from deploy.native.with_policies import run_with_policies

    environ = read_environ(os.environ)
    return run_with_policies(given.words, read_options(environ).upstream_conf, environ)


def with_own_stack(given: argparse.Namespace) -> int:
    """Run a command against a stack started for it, which it may disturb.

    The command finds HOST and STACK_COMMAND in its environment, and its exit code is returned.
    """
    from deploy.native.options import read_environ, read_options
    from deploy.native.with_own_stack import run_with_own_stack

    environ = read_environ(os.environ)
    return run_with_own_stack(given.words, read_options(environ).upstream_conf, environ)


def container(_: argparse.Namespace) -> int:
    """Run the workers under supervisord: the first process of the app container."""
    from deploy.supervisor.container import run_container

    return run_container()


def health(_: argparse.Namespace) -> int:
    """Exit with 0 when every worker of this container is ready, otherwise with 1."""
    from deploy.supervisor.container import FOLDER
    from deploy.supervisor.health import check_health

    return check_health(FOLDER / "programs")


def https(_: argparse.Namespace) -> None:
    """Write the certificate and nginx's lines about it: what the https container does, and all it does."""
    from deploy.supervisor.https import prepare_https

    prepare_https(os.environ)


if __name__ == "__main__":
    sys.exit(main())
