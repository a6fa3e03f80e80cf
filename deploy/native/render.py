"""The native copy of nginx/: the same files, with this machine's addresses and paths in them.

Line by line, so that a line number in an error message is the line number of the original.
"""

from __future__ import annotations

import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

from deploy.native.options import Options
from deploy.networks import in_url
from deploy.paths import ROOT
from deploy.upstream.read import OUR_HOST, text_of

# What belongs to a server may stand on lines of its own, and its address in quotes.
WORKER = re.compile(rf"((?:\bserver\s|^)\s*[\"']?){OUR_HOST}(?=:)")
RESOLVE = re.compile(r"(?:^|\s)\s*resolve(?=[\s;]|$)")
LISTEN = re.compile(r"\blisten\s+(8080|8443)\b([^;]*;)")
HTTPS = re.compile(r"(\binclude\s+)/etc/nginx/https/([\w.]+);")
STATIC = re.compile(r"(\balias\s+)/srv/static/([\w/]*);")
PROCESSES = re.compile(r"(\bworker_processes\s+)auto;")
LEAVES = re.compile(r"(\bworker_shutdown_timeout\s+)60s;")
FILES = re.compile(r"(\b(?:worker_rlimit_nofile|worker_connections)\s+)(\d+)")


def render_nginx(options: Options, folder: Path) -> Path:
    """Write the native copy into `folder`, replacing it whole; returns its nginx.conf."""
    draft, old = folder.with_name("conf.draft"), folder.with_name("conf.old")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(ROOT / "nginx", draft)
    (draft / "upstream.conf").write_text(text_of(options.upstream_conf), encoding="utf-8")
    _rewrite(draft / "upstream.conf", lambda code: upstream_line(code, options.workers_bind))
    for name in ("site.conf", "snippets/error-files.conf"):
        _rewrite(draft / name, lambda code: site_line(code, options))
    for name in ("snippets/tls.conf", "snippets/limits.conf"):
        _rewrite(draft / name, lambda code: tls_line(code, options))
    _rewrite(draft / "nginx.conf", lambda code: frame_line(code, most_files(), options))
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)  # nginx may be started again at any moment: never half a copy
    shutil.rmtree(old, ignore_errors=True)
    return folder / "nginx.conf"


def upstream_line(code: str, workers_bind: str = "127.0.0.1") -> str:
    """Workers are on this machine, and names are looked up once: there is no Docker to ask again."""
    return RESOLVE.sub("", WORKER.sub(rf"\g<1>{in_url(workers_bind)}", code))


def site_line(code: str, options: Options) -> str:
    """Listen where BIND, HTTP_PORT and HTTPS_PORT say; static files come from the source tree."""
    ports = {"8080": options.http_port, "8443": options.https.port}
    code = LISTEN.sub(lambda match: _listen(options.bind, ports[match[1]], match[2]), code)
    return STATIC.sub(lambda match: f'{match[1]}"{ROOT}/app/static/{match[2]}";', code)


def _listen(bind: str, port: int, rest: str) -> str:
    """`::` is every address of this machine, those of IPv4 too: they get a socket of their own."""
    hosts = {"::": ("[::]", "0.0.0.0")}.get(bind, (f"[{bind}]" if ":" in bind else bind,))
    return " ".join(f"listen {host}:{port}{rest}" for host in hosts)


def tls_line(code: str, options: Options) -> str:
    """The generated part is in STACK_DIR."""
    return HTTPS.sub(lambda match: f'{match[1]}"{options.tls}/{match[2]}";', code)


def frame_line(code: str, most: int, options: Options) -> str:
    """As many processes as NGINX_PROCESSES says, which leave as soon as NGINX_LEAVES_SECONDS does.

    No more files and connections than this machine allows, or nginx would complain at each start.
    """
    code = PROCESSES.sub(rf"\g<1>{options.nginx_processes};", code)
    code = LEAVES.sub(rf"\g<1>{options.nginx_leaves_seconds}s;", code)
    return FILES.sub(lambda match: f"{match[1]}{min(int(match[2]), most)}", code)


def most_files() -> int:
    """The hard limit of open files a process."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1 << 20 if hard == resource.RLIM_INFINITY else hard


def _rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Put each line's code, the part before a comment, through `change`."""
    lines = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        code, mark, comment = line.partition("#")
        lines.append(change(code) + mark + comment)
    path.write_text("\n".join(lines), encoding="utf-8")
