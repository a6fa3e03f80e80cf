"""A session that `make status` uses to see what a visitor gets: `python -m app.visitor` prints its cookies.

It is begun with the workers' own settings, by the engine that begins every session, and lasts for half a minute.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace

from app.cookie import SessionCookie
from app.sessions import Pipeline, RedisSessions, StoreUnavailable
from app.settings import Settings, SettingsError, read_settings

NAME = " make status"  # no account can have it: names have no space at either end
LIFE_SECONDS = 30


def main() -> int:
    """Print {"http", "https"}, a Cookie header for each, or {"error"}: what Redis or the settings say."""
    try:
        print(json.dumps(asyncio.run(begin(read_settings()))))
    except (SettingsError, StoreUnavailable) as error:
        print(json.dumps({"error": str(error)}))
    return 0


async def begin(settings: Settings) -> dict[str, str]:
    """Raises StoreUnavailable when nobody could log in now."""
    limits = replace(settings.limits, idle_seconds=LIFE_SECONDS, absolute_seconds=LIFE_SECONDS)
    pipeline = Pipeline(settings.redis_url, timeout_seconds=settings.redis_timeout_seconds)
    try:
        sessions = RedisSessions(pipeline, limits, prefix=settings.session_prefix)
        session_id = await sessions.create(NAME)
    finally:
        await pipeline.close()
    cookie = SessionCookie(
        settings.session_secrets, settings.limits.absolute_seconds, settings.session_cookie_name
    )
    return {
        scheme: cookie.header(session_id, https=scheme == "https") for scheme in ("http", "https")
    }


if __name__ == "__main__":
    sys.exit(main())
