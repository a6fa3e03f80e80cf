"""The https container: writes the certificate and its settings into the volume that nginx reads, and ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.https import read_https, write_https_for_container

FOLDER = Path("/etc/nginx/https")  # in both containers, so that the paths in site.conf are nginx's


def prepare_https(environ: Mapping[str, str]) -> None:
    """Refused says what is wrong with the settings or with the certificate."""
    write_https_for_container(read_https(environ), FOLDER)
