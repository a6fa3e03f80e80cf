"""The commands behind the Makefile: `python -m deploy COMMAND --help` explains each."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from errno import EDQUOT, EEXIST, ENAMETOOLONG, ENOSPC, ENOTDIR, EROFS
from pathlib import Path

from deploy.output import never_silent, outlive_readers
from deploy.paths import ROOT
from deploy.refused import Refused

Command = Callable[[argparse.Namespace], int | None]

# Each command imports what it needs when it runs: the app image has no native servers installed.


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    outlive_readers()
    given = _parser().parse_args(arguments)
    try:
        with never_silent() if given.command in WAITING else nullcontext():
            return int(given.command(given) or 0)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        remedy = "run this as that user, or give another STACK_DIR"
        print(f"error: {error.filename} is another user's: {remedy}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        print(f"error: {error.filename}: {error.strerror}; {ELSEWHERE}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if given.command in OPERATIONS:
            print(f"\n{INTERRUPTED}", file=sys.stderr)
        return 130  # what a shell reports for a command that Ctrl-C ended


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Command) -> argparse.ArgumentParser:
        summary, _, rest = (command.__doc__ or "").partition("\n")
        name = command.__name__.replace("_", "-")
        sub = commands.add_parser(name, help=summary, description=f"{summary} {rest}")
        sub.set_defaults(command=command)
        return sub

    for command in ALONE:
        add(command)
    add(scale).add_argument("number", help="how many workers")
    for take in (drain, undrain):
        add(take).add_argument("server", help="a worker's port, or host:port of another server")
    add(status).add_argument("--json", action="store_true", help="for machines")
    files = add(nginx_files)
    files.add_argument("--source", type=Path, help="a folder or a tar archive, instead of nginx/")
    files.add_argument("--follow", action="store_true", help="go on, and write what changes")
    asked = add(inside)
    asked.add_argument("action")
    asked.add_argument("argv", nargs="*")
    add(user).add_argument("name", help="1 to 64 printable characters")
    add(end_sessions).add_argument("name", help="the user, as shown after logging in")
    for wrapper in (with_stack, expect):
        add(wrapper).add_argument("argv", nargs="+", metavar="COMMAND", help="written after --")
    return parser


def run(_: argparse.Namespace) -> None:
    """Run the whole stack without Docker, in the foreground.

    Ctrl-C stops all of it.  With STACK=docker it is `docker compose up` instead, and returns when that is ready.
    """
    if os.environ.get("STACK") == "docker":
        from deploy.operations.docker_up import docker_up

        return docker_up(os.environ)
    from deploy.native.applied import record
    from deploy.native.options import read_environ, read_options
    from deploy.native.run import run as run_stack

    environ = read_environ(os.environ)
    run_stack(read_options(environ), environ | record(os.environ))


def stop(_: argparse.Namespace) -> None:
    """Stop the stack that `run` started in another terminal.

    Clears up after one that was killed, too.
    """
    from deploy.native.stop import stop as stop_stack

    stop_stack(os.environ)


def logs(_: argparse.Namespace) -> None:
    """Follow the logs of the stack."""
    from deploy.native.logs import follow_logs

    follow_logs(os.environ)


def check(_: argparse.Namespace) -> None:
    """Test nginx/ and say what upstream.conf means; nothing is changed.

    Says what `reload` would change when a stack is running.
    """
    from deploy.operations.check import check as check_nginx

    check_nginx(os.environ)


def reload(_: argparse.Namespace) -> None:
    """Apply upstream.conf, and the rest of nginx/, to the running stack without losing a request.

    Refused with file, line and remedy when something is wrong; then the old configuration keeps serving.
    """
    from deploy.operations.reload import reload as reload_stack

    reload_stack(os.environ)


def scale(given: argparse.Namespace) -> None:
    """Edit upstream.conf to so many workers, and reload.

    Only server lines change; new ones have the parameters of the last.
    """
    from deploy.operations.scale import scale as scale_stack

    scale_stack(os.environ, given.number)


def drain(given: argparse.Namespace) -> None:
    """Take a server out of rotation; it keeps running.

    Marks its line `down`, reloads, and waits until it has nothing more to answer.
    """
    from deploy.operations.drain import drain as drain_server

    drain_server(os.environ, given.server)


def undrain(given: argparse.Namespace) -> None:
    """Put a drained server back into rotation."""
    from deploy.operations.drain import undrain as undrain_server

    undrain_server(os.environ, given.server)


def rolling_restart(_: argparse.Namespace) -> None:
    """Restart the workers one at a time, without losing a request; new code is read.

    The first that does not come back ends it, and the others are not touched.
    """
    from deploy.operations.restart import rolling_restart as restart_workers

    restart_workers(os.environ)


def swarm_up(_: argparse.Namespace) -> None:
    """Deploy the stack to the swarm that this engine manages, or what has changed since.

    Builds the image, and returns when all tasks run; one that does not become healthy is rolled back.
    """
    from deploy.swarm.up import swarm_up as deploy_stack

    deploy_stack(os.environ)


def swarm_down(_: argparse.Namespace) -> None:
    """Remove that stack; its volumes stay."""
    from deploy.swarm.down import swarm_down as remove_stack

    remove_stack(os.environ)


def status(given: argparse.Namespace) -> int:
    """Say how each worker, nginx and Redis are; exit with 0 when all is well.

    Requests and errors are those of the last minute; errors are answers of 500 and above. WATCH=1 shows it live,
    until Ctrl-C; where there is no terminal, a line every five seconds.
    """
    from deploy.operations.live import show_live
    from deploy.operations.status import show_status

    if os.environ.get("WATCH") == "1":
        return show_live(os.environ)
    return show_status(os.environ, as_json=given.json)


def user(given: argparse.Namespace) -> int:
    """Add an account to USERS_FILE, or change its password; running workers look at the file at each login.

    Asks for the password, or reads it from standard input when that is not a terminal. REMOVE=1 takes the account
    away. Sessions of an account that was changed or removed end (ASVS 5.0 7.4.2, 7.4.3).
    """
    from deploy.operations.user import change_user

    return change_user(given.name, os.environ)


def end_sessions(given: argparse.Namespace) -> int:
    """End every session of one user at once, in the stack that runs from this folder.

    Without Docker beside `make run`, with it in the app container; REDIS_URL names another place.
    """
    from deploy.operations.end_sessions import end_sessions as end_sessions_of

    return end_sessions_of(given.name, os.environ)


def with_stack(given: argparse.Namespace) -> int:
    """Run a command against the running stack of this folder, or against one started for it.

    The command finds HOST, WORKERS, WEIGHTS and POLICY in its environment; its exit code is returned.
    """
    from deploy.operations.with_stack import run_with_stack

    return run_with_stack(given.argv, os.environ)


def expect(given: argparse.Namespace) -> None:
    """Run a command that finds WORKERS, WEIGHTS and POLICY of nginx/upstream.conf in its environment.

    The load test's container does; `with-stack` would start servers it does not have.
    """
    from deploy.upstream.expect import become

    become(given.argv, ROOT / "nginx/upstream.conf", os.environ)


def container(_: argparse.Namespace) -> int:
    """Run the workers under supervisord: the first process of the app container."""
    from deploy.supervisor.container import run_container

    return run_container()


def inside(given: argparse.Namespace) -> int:
    """In an app container: what operations on the host ask for."""
    from deploy.supervisor.inside import answer

    return answer(given.action, given.argv)


def health(_: argparse.Namespace) -> int:
    """Exit with 0 when every worker of this container is ready and nginx had time to notice, else with 1."""
    from deploy.supervisor.container import FOLDER
    from deploy.supervisor.container_health import check_health, nginx_is_named

    return check_health(FOLDER, nginx_is_named)


def nginx_files(given: argparse.Namespace) -> None:
    """Write what nginx reads, for an nginx in another container: in Swarm and Kubernetes."""
    from deploy.nginx_files import Places, follow, write_nginx_files

    places = Places(**({"source": given.source} if given.source else {}))
    (follow if given.follow else write_nginx_files)(os.environ, places)


def https(_: argparse.Namespace) -> None:
    """Write the certificate and nginx's lines about it: what the https container does, and all it does."""
    from deploy.https import CONTAINER, read_https, write_https_for_container

    write_https_for_container(read_https(os.environ), CONTAINER)


def sbom(_: argparse.Namespace) -> int:
    """Write a list of all parts of each lock and each image into .stack/sbom, in CycloneDX; 1 when an image is missing."""
    from deploy.supply.sbom import write_lists

    return write_lists(ROOT / ".stack/sbom")


def audit(_: argparse.Namespace) -> int:
    """Compare the locked packages with what is known against them.

    0: nothing is. 1: something is. 3: that could not be found out, for some or for all.
    """
    from deploy.supply.advisories import audit as audit_locks

    return audit_locks()


def pin_images(_: argparse.Namespace) -> None:
    """Write the digests of today's images into docker-compose.yml and the Dockerfiles; pulls each image."""
    from deploy.supply.images import pin_images as pin

    pin(ROOT)


def watch(_: argparse.Namespace) -> None:
    """Run Prometheus beside the native stack, and say which alerts begin and end.

    It finds workers as they come and go. Ctrl-C ends it.
    """
    from deploy.watch.native import watch as watch_stack

    watch_stack(os.environ)


def figures(_: argparse.Namespace) -> None:
    """Serve what Prometheus scrapes for the stack in Docker: what the figures container does."""
    from deploy.watch.container import run_figures

    run_figures()


# Those that take no argument.
ALONE: list[Command] = [run, stop, logs, check, reload, rolling_restart, swarm_up, swarm_down]
ALONE += [container, health, https, sbom, audit, pin_images, watch, figures]
OPERATIONS: tuple[Command, ...] = (reload, scale, drain, undrain, rolling_restart)
WAITING = (*OPERATIONS, stop, check, swarm_up, swarm_down, sbom, audit, pin_images)
# A disk that is read-only or full, and a STACK_DIR that is a file or has too long a name.
UNWRITABLE = {EROFS, ENOSPC, EDQUOT, EEXIST, ENOTDIR, ENAMETOOLONG}
ELSEWHERE = "STACK_DIR names another folder for what is written, UPSTREAM_CONF another file to edit"
INTERRUPTED = (
    "interrupted; the stack serves. `make status` says what, `make reload` ends what was begun"
)


if __name__ == "__main__":
    sys.exit(main())
