"""The container `figures`: what Prometheus scrapes for a stack in Docker.

It reaches nginx, the workers by Docker's name server, Redis through its socket file, and the certificate in its volume.
nginx's log is Docker's, so requests are counted by the workers alone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from deploy.https import CONTAINER
from deploy.operations.store import store_figures
from deploy.supervisor.container import upstream_path
from deploy.supervisor.inside import status_url
from deploy.upstream.lint import check_upstream
from deploy.upstream.read import OUR_HOST, UpstreamError, read_upstream
from deploy.watch.figures import Figures, Sources, Target, targets_of
from deploy.watch.serve import serving

PORT = 9105
LOOK_SECONDS = 2.0
SITE = "http://nginx:8080"


def run_figures() -> NoReturn:
    """Look every other second until told to stop."""
    # Else ignored by a container's first process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    prefix = os.environ.get("SESSION_PREFIX", "")
    figures = Figures(
        Sources(
            site_url=SITE,
            targets=targets,
            store=lambda: store_figures(status_url(), prefix, count=False),
            certificate=CONTAINER / "certificate.pem",
            folder=Path(os.environ["STACK_DIR"]),
        )
    )
    with serving(figures, "0.0.0.0", PORT):
        while True:
            figures.look()
            time.sleep(LOOK_SECONDS)


def targets() -> list[Target]:
    """The workers of every app container that Docker knows; none while there is no such container."""
    try:
        found = socket.getaddrinfo(OUR_HOST, None, socket.AF_INET, socket.SOCK_STREAM)
        upstream = read_upstream(upstream_path())
        check_upstream(upstream)
    except (OSError, UpstreamError):
        return []
    hosts = sorted({str(address[0]) for *_, address in found})
    return targets_of(upstream, dict.fromkeys(upstream.workers, hosts))
