"""Starts a worker as `python -m app` does, with one part of it replaced by a broken one."""

from __future__ import annotations

import sys

import app.__main__ as worker


def start(**replaced: object) -> None:
    """Run the worker; `replaced` are names of `app.__main__`, such as RedisSessions."""
    for name, part in replaced.items():
        assert hasattr(worker, name), f"a worker is not made with {name}"
        setattr(worker, name, part)
    sys.exit(worker.main())
