"""What the user in REDIS_URL has to be allowed, and whether it is, asked before the first visitor comes.

Redis refuses a command of a script when the script gets there.  Without the right to publish, a write
would be applied and then answered with an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .identity import index_key, log_key, session_key
from .lua import WORKERS
from .wire.calls import Script, StoreUnavailable
from .wire.pipeline import Pipeline

_CALLED = re.compile(r"redis\.p?call\('([A-Z]+)'")
_ASK = Script.of("""#!lua flags=no-writes
-- The lines of ARGV, each a command with its arguments, that this user may not run.
local function may(words)
    for count = #words, 1, -1 do  -- Redis refuses to judge a command with too many arguments
        local judged, answer = pcall(redis.acl_check_cmd, unpack(words, 1, count))
        if judged then return answer end
    end
end
local refused = {}
for _, line in ipairs(ARGV) do
    local words = {}
    for word in string.gmatch(line, '%S+') do words[#words + 1] = word end
    if not may(words) then refused[#refused + 1] = line end
end
return refused""")


def commands_of(scripts: Iterable[Script]) -> set[str]:
    """The commands that scripts run."""
    return {name for script in scripts for name in _CALLED.findall(script.text)}


async def check_rights(
    pipeline: Pipeline,
    *,
    prefix: str = "",
    others: Iterable[Script] = (),
    keys: Iterable[str] = (),
    channels: Iterable[str] = (),
) -> None:
    """Raise StoreUnavailable with the first right that is missing.  One round trip.

    `others` are scripts beside the engine's own; `keys` and `channels` what is used beside sessions.
    """
    session, user = session_key("-", "-", prefix), index_key("-", "-", prefix)
    asked = [f"{name} {session} {session} {session}" for name in sorted(commands_of(WORKERS))]
    asked += [f"UNLINK {key}" for key in (user, log_key("-", "-", prefix), *keys)]
    asked += [f"{name} {user} {user} {user}" for name in sorted(commands_of(others))]
    asked += [line for c in (session, *channels) for line in (f"PUBLISH {c} -", f"SUBSCRIBE {c}")]
    asked += ["UNSUBSCRIBE -", *pipeline.uses]
    try:
        refused = await pipeline.run(_ASK, (session,), asked)
    except StoreUnavailable as error:
        about = f" ({session})" if str(error).startswith("NOPERM") else ""  # names no key itself
        raise StoreUnavailable(f"{error}{about}", may_have_happened=False) from error
    if refused:
        line = refused[0].decode()
        reason = (
            f"the user in REDIS_URL may not run {line!r}; deploy/redis/users.acl has all it needs"
        )
        raise StoreUnavailable(reason, may_have_happened=False)
