"""Under Swarm and Kubernetes: what nginx reads, written where an nginx in another container finds it.

That is nginx/ with the cluster's names in it, the certificate, and the static files.  `written` changes last, and
with what was written only: nginx/start looks at it, and reloads.
"""

from __future__ import annotations

import hashlib
import re
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from deploy.https import read_https, write_https_for_container
from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.replace_file import replace_file
from deploy.upstream.read import OUR_HOST

LOOK_SECONDS = 2.0
PATTERNS = ("*.conf", "start", "snippets/*.conf")  # not what Kubernetes puts beside them
RESOLVER = re.compile(r"(\bresolver\s+)127\.0\.0\.11( valid=\w+) ipv6=off")
WORKER = re.compile(rf"(\bserver\s+){OUR_HOST}(?=:)")
NAME_SERVER = re.compile(r"^nameserver\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Places:
    """Where the files come from and go to; the last two are volumes that nginx's container has at the same places."""

    source: Path = ROOT / "nginx"  # a folder, or a tar archive of it
    resolv_conf: Path = Path("/etc/resolv.conf")
    static_source: Path = ROOT / "app/static"
    nginx: Path = Path("/etc/nginx")
    static: Path = Path("/srv/static")


def write_nginx_files(environ: Mapping[str, str], places: Places) -> bool:
    """Write them, if they differ from those written before; whether they did.

    Refused says what is wrong with a setting or the certificate; then everything is as before.
    """
    https = read_https(environ)
    now = fingerprint(environ, places)
    stamp = places.nginx / "written"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == now:
        return False
    (places.nginx / "https").mkdir(mode=0o750, exist_ok=True)
    write_https_for_container(https, places.nginx / "https")
    _copy(places.static_source, places.static)
    name_server = _name_server(places.resolv_conf)
    with _unpacked(places.source) as folder:
        for name, text in _files(folder):
            target = places.nginx / "stack" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            code = _named(text, name_server, environ.get("WORKERS_HOST") or OUR_HOST)
            replace_file(target, code, mode=0o644)
    replace_file(stamp, now, mode=0o644)
    return True


def follow(environ: Mapping[str, str], places: Places) -> NoReturn:
    """Write them, and again whenever a file or the certificate has changed; ends with SIGTERM.

    What is wrong after the first time is printed once, and what was written before stays.
    """
    # Else ignored by a container's first process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    write_nginx_files(environ, places)
    said = ""
    while True:
        time.sleep(LOOK_SECONDS)
        try:
            if write_nginx_files(environ, places):
                print("wrote what has changed; nginx reloads", flush=True)
            said = ""
        except (Refused, OSError) as error:
            if str(error) != said:
                print(f"not written, the earlier files stay: {error}", flush=True)
            said = str(error)


def fingerprint(environ: Mapping[str, str], places: Places) -> str:
    """Of everything that the files are made from."""
    found = hashlib.sha256()
    with _unpacked(places.source) as folder:
        for name, text in _files(folder):
            found.update(f"{name}\0{text}\0".encode())
    for name in ("TLS_CERT", "TLS_KEY", "NGINX_SECRET_FILE"):
        if path := environ.get(name):
            found.update(Path(path).read_bytes())
    found.update(repr((read_https(environ), environ.get("WORKERS_HOST"))).encode())
    return found.hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    paths = sorted(path for pattern in PATTERNS for path in folder.glob(pattern))
    if not paths:
        raise Refused(f"{folder} holds no file of nginx")
    for path in paths:
        yield str(path.relative_to(folder)), path.read_text(encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    """Each file; not shutil.copytree, which sets times of `target`, and a volume of Kubernetes belongs to root."""
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(exist_ok=True)
        else:
            copy.parent.mkdir(exist_ok=True)
            replace_file(copy, path.read_bytes(), mode=0o644)


def _named(text: str, name_server: str, host: str) -> str:
    """The cluster's name server instead of Docker's, and the name under which it knows the workers."""
    shown, rest = (f"[{name_server}]", "") if ":" in name_server else (name_server, " ipv6=off")
    text = RESOLVER.sub(rf"\g<1>{shown}\g<2>{rest}", text)
    return WORKER.sub(rf"\g<1>{host}", text)


def _name_server(path: Path) -> str:
    found = NAME_SERVER.search(path.read_text(encoding="utf-8"))
    if not found:
        raise Refused(f"{path} names no name server")
    return found[1]


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    if source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)
