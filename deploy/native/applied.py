"""What native workers are started with: the settings of `make run`, and those that .env has changed since.

`make rolling-restart` reads .env again, and keeps what it found in STACK_DIR: a worker that crashes an
hour later, or is added by `make scale`, starts with the settings of the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.native.env_file import DEFAULT_FILE, read_settings_file
from deploy.native.settings_check import check_settings
from deploy.native.worker import applied_file, read_applied, with_changes
from deploy.replace_file import replace_file

# The names that `make run` took from the file, for whoever asks later.
FROM_FILE = "SETTINGS_FROM_FILE"
# What nginx, supervisord or Redis are started with: workers alone cannot take it over.
NEEDS_A_START = frozenset(
    {
        *("ROLE", "WORKERS_BIND", "BIND", "HTTP_PORT", "HTTPS_PORT", "HTTPS_ONLY", "HTTPS_NAMES"),
        *("HTTP2", "TLS13"),
        *("HSTS_SUBDOMAINS", "EXEMPT_NETWORKS", "NGINX_SECRET", "NGINX_SECRET_FILE"),
        *("TLS_CERT", "TLS_KEY", "APP_ENV", "USERS_FILE", "REDIS_URL", "REDIS_URL_FILE"),
        *("REPLICAS", "SESSION_PREFIX", "DRAIN_SECONDS", "STACK_DIR", "UPSTREAM_CONF"),
        *("NGINX", "NGINX_PROCESSES", "NGINX_LEAVES_SECONDS", "ALLOWED_HOSTS", "TRUSTED_PROXIES"),
        *("PAGE_SECONDS", "WATCHDOG_SECONDS", "DEV"),
    }
)


@dataclass(frozen=True)
class Changes:
    """What .env says now and the running stack does not do.

    `values` is the whole of what workers start with beyond the settings of `make run`; None is unset.
    `taken` are the names that a restart of the workers applies.
    """

    values: dict[str, str | None]
    taken: list[str]
    need_a_start: list[str]
    overruled: list[str]


def record(shell: Mapping[str, str]) -> dict[str, str]:
    """What a later command must know to tell the settings of a file from those of the shell."""
    given = read_settings_file(shell)
    name = shell.get("ENV_FILE", DEFAULT_FILE)
    names = ",".join(sorted(given.keys() - shell.keys()))
    return {"ENV_FILE": os.path.abspath(name) if name else "", FROM_FILE: names}


@contextmanager
def taken_over(started: Mapping[str, str], stack_dir: Path, *, tried: bool) -> Iterator[list[str]]:
    """Workers that start in the block get the settings of now; sentences about what they get, and do not.

    When the block fails, later ones get the settings of before.  `tried`: whether a worker is asked first if it
    could start with them; Refused says why not.
    """
    changes = _look(started, stack_dir)
    if tried:
        check_settings(with_changes(started, changes.values))
    before = read_applied(stack_dir)
    _keep_applied(stack_dir, changes.values)
    try:
        yield _sentences(changes)
    except BaseException:
        _keep_applied(stack_dir, before)
        raise


def forget_applied(stack_dir: Path) -> None:
    """At a start of the stack, which reads the file itself."""
    applied_file(stack_dir).unlink(missing_ok=True)


def _look(started: Mapping[str, str], stack_dir: Path) -> Changes:
    """Compare the file with what a stack with the environment `started` was given, or has taken since."""
    now = read_settings_file(started)
    first = {name: started[name] for name in started.get(FROM_FILE, "").split(",") if name}
    kept = read_applied(stack_dir)
    changes = Changes({}, [], [], [])
    for name in sorted(first.keys() | now.keys() | kept.keys()):
        if name in NEEDS_A_START:
            if now.get(name) != first.get(name) and started.get(name) != now.get(name):
                changes.need_a_start.append(name)
        elif name in started and name not in first:
            if name in now and now[name] != started[name]:
                changes.overruled.append(name)
        else:
            if now.get(name) != kept.get(name, first.get(name)):
                changes.taken.append(name)
            if now.get(name) != first.get(name):
                changes.values[name] = now.get(name)
    return changes


def _keep_applied(stack_dir: Path, values: Mapping[str, str | None]) -> None:
    """Have every worker that starts from now on start with these."""
    replace_file(applied_file(stack_dir), json.dumps(values), mode=0o600)  # there are secrets in it


def _sentences(changes: Changes) -> list[str]:
    """What the user must know of a file that has changed."""
    told = []
    if changes.taken:
        told.append(f"new settings: {', '.join(changes.taken)}")
    if changes.need_a_start:
        names = ", ".join(changes.need_a_start)
        told.append(f"not yet in effect: {names}, which `make stop` and `make run` apply")
    if changes.overruled:
        names = ", ".join(changes.overruled)
        told.append(f"without effect: {names}, which the shell gave to `make run`")
    return told
