"""`make rolling-restart`: every worker anew, one at a time, while the others answer."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from deploy.counted import counted
from deploy.operations.find import operation
from deploy.operations.stack import Place, served_upstream
from deploy.refused import Refused
from deploy.upstream.difference import label
from deploy.upstream.read import Server, Upstream

MARGIN_SECONDS = 0.3
FAIL_TIMEOUT = re.compile(r"fail_timeout=(\d+)(ms|s|m|h)?")
UNIT_SECONDS = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def rolling_restart(environ: Mapping[str, str]) -> None:
    """Restart the workers in the order of upstream.conf; the first failure ends it, the rest untouched."""
    with operation(environ, "rolling-restart") as stack:
        places = stack.places()
        upstream = served_upstream(stack, places)
        if upstream is None:
            raise Refused("no app container is running: `docker compose up --detach` starts it")
        work = [(place, server) for place in places for server in _workers(place, upstream)]
        others = [label(server) for server in upstream.served if not server.is_worker]
        if not work:
            raise Refused(f"this host runs no worker: run this where they are: {', '.join(others)}")
        if sum(server.is_served for _, server in work) + len(others) < 2:
            remedy = "no worker would answer meanwhile: `make scale N=2` first"
            raise Refused(f"there is only one worker in rotation: {remedy}")
        with stack.settings() as told:
            for number, (place, server) in enumerate(work, start=1):
                print(f"{number} of {len(work)}: {place.host}:{server.port} …", end=" ", flush=True)
                _restart(place, server, number, len(work))
                if number < len(work):
                    time.sleep(pause_seconds(server))
        left = [f"not restarted, as other hosts run them: {', '.join(others)}"] if others else []
        print("; ".join([f"{counted(len(work), 'worker')} restarted", *told, *left]))


def pause_seconds(server: Server) -> float:
    """How long after a restart the next may go: nginx must ask the restarted one again before."""
    found = FAIL_TIMEOUT.search(" ".join(server.parameters))
    seconds = float(found[1]) * UNIT_SECONDS[found[2]] if found else 10.0  # nginx's default
    return seconds + MARGIN_SECONDS


def _restart(place: Place, server: Server, number: int, total: int) -> None:
    began = time.monotonic()
    try:
        place.restart(server.port)
    except Refused as error:
        left = total - number
        untouched = f"{counted(left, 'worker')} {'was' if left == 1 else 'were'} not touched"
        raise Refused(f"{error}\nstopped here; {untouched}. Fix it, then run this again") from None
    print(f"ready after {time.monotonic() - began:.1f} s", flush=True)


def _workers(place: Place, upstream: Upstream) -> list[Server]:
    running = set(place.ports())
    return [server for server in upstream.workers if server.port in running]
