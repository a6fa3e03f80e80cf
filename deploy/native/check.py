"""`make check`: read the upstream file, then let nginx test the whole configuration; changes nothing."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from deploy.lint import check_upstream
from deploy.native.nginx import prepare_nginx
from deploy.native.options import Options
from deploy.upstream import read_upstream


def check(options: Options) -> None:
    """Print what the configuration means; Refused names the line that is wrong."""
    upstream = read_upstream(options.upstream_conf)
    check_upstream(upstream)
    with tempfile.TemporaryDirectory() as folder:  # a running stack's own copy stays as it is
        prepare_nginx(replace(options, stack_dir=Path(folder)))
    for server in upstream.servers:
        started = "a worker of this stack" if server.is_worker else "started elsewhere"
        state = "" if server.is_served else ", not in use"
        print(f"  {server.host}:{server.port}  {started}{state}")
    print(f"{len(upstream.served)} servers in use, {upstream.policy}: nginx accepts it")
