"""Native nginx: the arguments it is started with, and its own test of the rendered files."""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
from dataclasses import replace
from pathlib import Path

from deploy.https import write_https
from deploy.native import binaries
from deploy.native.options import Options
from deploy.native.render import render_nginx
from deploy.nginx_secret import kept_nginx_secret
from deploy.paths import NGINX_SECRET, ROOT, shown
from deploy.refused import Refused

OLDEST = (1, 29, 3)  # has add_header_inherit and $is_request_port
# Variables, quotes and patterns of files; nginx has no way to write them as themselves.
UNUSABLE = re.compile(r"[$\"\\*?\[\x00-\x1f\x7f]|[\ud800-\udfff]")


def nginx_command(options: Options) -> list[str]:
    """The command line of nginx, on the files render_nginx wrote."""
    return nginx_in(options.nginx, binaries.nginx(options.nginx_program))


def nginx_in(folder: Path, program: Path | None = None) -> list[str]:
    """The command line of nginx for the configuration in `folder`/conf; it writes into `folder`."""
    # nginx takes a variable NGINX for sockets that it inherits.
    command = ["env", "-u", "NGINX", str(program or binaries.nginx())]
    command += ["-p", f"{folder}/", "-e", "stderr"]
    if os.geteuid() == 0:
        # nginx as root hands its work to `nobody`, who may not read a checkout in root's home.
        user, group = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
        command += ["-g", f"user {user} {group};"]
    return [*command, "-c", str(folder / "conf/nginx.conf")]


def check_names(options: Options) -> None:
    """The folders whose names stand in nginx's files, and in those of others."""
    check_name("this folder", ROOT)
    check_name("STACK_DIR", options.stack_dir)


def check_name(what: str, folder: Path) -> None:
    """Refused names the character in the folder's name that nginx would take for something else."""
    if unusable := UNUSABLE.search(str(folder)):
        known = unusable[0] if unusable[0].isprintable() else f"U+{ord(unusable[0]):04X}"
        raise Refused(
            f"{what}, {str(folder)!r}, has the character {known} in its name, "
            "which nginx cannot handle: rename it, or choose another"
        )


def prepare_nginx(options: Options) -> None:
    """Render the files and have nginx test them; Refused repeats its complaint with the original's name."""
    check_names(options)
    options.nginx.mkdir(parents=True, exist_ok=True)
    rendered = write_files(options).parent
    command = [*nginx_command(options), "-t"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    complaints = [line for line in result.stderr.splitlines() if "] " in line]
    if result.returncode or complaints:
        text = _original(complaints, rendered, options)
        raise Refused(f"nginx refuses its configuration\n{text}")


def write_files(options: Options) -> Path:
    """Everything that nginx reads, as its version needs it; returns its nginx.conf."""
    version = nginx_version(binaries.nginx(options.nginx_program))
    secret = options.https.nginx_secret or kept_nginx_secret(options.stack_dir / NGINX_SECRET)
    https = replace(options.https, nginx_secret=secret)
    write_https(https, options.tls, nginx=version)
    return render_nginx(options, options.nginx / "conf")


def nginx_version(program: Path) -> str:
    """The version it gives of itself; Refused when it is too old for nginx/, or no nginx."""
    try:
        said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr
    except OSError as error:
        raise Refused(f"{program} cannot be started: {error.strerror}") from None
    found = re.search(r"nginx/((\d+)\.(\d+)\.(\d+))", said)
    if not found:
        raise Refused(f"{program} is not nginx: `-v` printed {said.strip()[:80]!r}")
    if tuple(map(int, found.groups()[1:])) < OLDEST:
        least = ".".join(map(str, OLDEST))
        raise Refused(f"{program} is nginx {found[1]}, and {least} or later is needed")
    return found[1]


def _original(complaints: list[str], rendered: Path, options: Options) -> str:
    """nginx's complaints about the rendered files, told of the files they were made from."""
    names = {rendered / "upstream.conf": options.upstream_conf, rendered: ROOT / "nginx"}
    text = "\n".join("  " + line.split(": ", 1)[-1] for line in complaints)
    for copy, original in names.items():
        text = text.replace(str(copy), shown(original))
    return text
