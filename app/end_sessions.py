"""For an administrator: end every session of one user, on every device and worker, at once.

`python -m app.end_sessions NAME` with the worker's own REDIS_URL; `make end-sessions USER=NAME` finds it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from app.accounts import normalise
from app.audit import OPERATOR, OPERATOR_REASONS, Audit
from app.sessions import Pipeline, RedisSessions, StoreUnavailable
from app.settings import Settings, SettingsError, read_settings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m app.end_sessions", description=__doc__)
    parser.add_argument("name", help="the user, as shown after logging in")
    parser.add_argument("--reason", choices=OPERATOR_REASONS, default=OPERATOR_REASONS[0])
    given = parser.parse_args()
    user = normalise(given.name)
    if user is None:
        print("that is no user name: 1 to 64 printable characters", file=sys.stderr)
        return 2
    try:
        ended = asyncio.run(end_sessions(read_settings(), user, given.reason))
    except (SettingsError, StoreUnavailable) as error:
        print(f"no session was ended: {error}", file=sys.stderr)
        return 1
    print(f"{ended} session{'' if ended == 1 else 's'} of {user} ended")
    return 0


async def end_sessions(settings: Settings, user: str, reason: str) -> int:
    """How many sessions of `user` there were.  Raises StoreUnavailable."""
    pipeline = Pipeline(
        settings.redis_url,
        timeout_seconds=settings.redis_timeout_seconds,
        acknowledged_by=settings.writes_acknowledged_by,
    )
    try:
        audit = Audit(settings.stack_dir, OPERATOR)
        sessions = RedisSessions(
            pipeline, prefix=settings.session_prefix, on_event=audit.of_session
        )
        return await sessions.end_all(user, reason=reason)
    finally:
        await pipeline.close()


if __name__ == "__main__":
    sys.exit(main())
