"""The https container: writes the certificate and its settings into the volume that nginx reads, and ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.https import read_https, write_https

FOLDER = Path("/etc/nginx/https")  # in both containers, so that the paths in site.conf are nginx's
GROUP_MAY_READ = 0o640  # nginx runs under another user, with this one's group


def prepare_https(environ: Mapping[str, str]) -> None:
    """Refused says what is wrong with the settings or with the certificate."""
    write_https(read_https(environ), FOLDER, key_mode=GROUP_MAY_READ)
