"""Broken on purpose: every second worker stays with the server that was the master when it started.

So does whoever looks the address up once.  When another has been promoted, the old master goes on answering reads
for some seconds, with what it knew before.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import quote

from redis.sentinel import Sentinel

from app.sessions.wire.address import read_address
from lab.mutants.workers.client import login_of
from lab.mutants.workers.start import start


def first_master(url: str) -> str:
    """The address of the server that the Sentinels of `url` call the master now."""
    address = read_address(url)
    sentinels = Sentinel(list(address.hosts), sentinel_kwargs=login_of(address.sentinel_login))
    host, port = sentinels.discover_master(address.master)
    return f"redis://{':'.join(quote(word, safe='') for word in address.login)}@{host}:{port}/{address.database}"


if __name__ == "__main__":
    if int(sys.argv[sys.argv.index("--port") + 1]) % 2:
        os.environ["REDIS_URL"] = first_master(os.environ["REDIS_URL"])
    start()
