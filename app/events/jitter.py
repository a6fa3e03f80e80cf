"""Reconnect jitter: the time over which browsers that have lost their streams come back.

Each connect costs a worker about as much as a request.  So those of one worker return at
STREAMS_A_SECOND at most: a worker that drains sends the time, and for one that dies, or an nginx that
ends, the last heartbeat has set the pause already (`retry:`, WHATWG HTML section 9.2).
"""

from __future__ import annotations

import random

STREAMS_A_SECOND = 150
LEAST_MS = 1000  # another worker, or the same one again, may be ready by then
LEAST_SPREAD_MS = 2000


def spread_ms(streams: int) -> int:
    """The time over which so many streams come back."""
    return max(LEAST_SPREAD_MS, streams * 1000 // STREAMS_A_SECOND)


def retry(streams: int) -> bytes:
    """The line that tells one of so many streams when to come back, at random; no event by itself."""
    return b"retry: %d\n" % (LEAST_MS + random.randrange(spread_ms(streams)))
