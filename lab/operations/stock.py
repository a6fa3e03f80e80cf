"""The negative control: nginx's defaults, and workers that simply end.  What is lost here, ours must save."""

from __future__ import annotations

import re
import time
from pathlib import Path

from deploy.native.scratch import Scratch, free_ports
from deploy.supervisor.daemon import Supervisord
from deploy.upstream.read import worker_name

# What our files set and a plain configuration does not; without the line nginx's default holds.
OURS = (
    *("worker_shutdown_timeout", "keepalive_min_timeout", "keepalive_timeout", "keepalive", "zone"),
    *("proxy_http_version", "proxy_connect_timeout", "proxy_read_timeout", "proxy_send_timeout"),
    *("proxy_next_upstream", "proxy_next_upstream_tries", "proxy_next_upstream_timeout"),
)
LINE = re.compile(rf"^\s*(?:{'|'.join(OURS)})\s[^;\n]*;.*$", re.MULTILINE)
CONNECTION = re.compile(r'^\s*proxy_set_header Connection "";.*$', re.MULTILINE)
AGAIN = re.compile(r"^error_page 502 = @again;.*$", re.MULTILINE)
SERVER = re.compile(r"^(\s*server\s+[\w.]+:\d+)[^;]*;", re.MULTILINE)
PAUSE_SECONDS = 1.0  # between two workers of a restart, as in a shell loop with `sleep 1`


def plain(text: str) -> str:
    """A configuration file without what this project adds to nginx's defaults."""
    for ours in (LINE, CONNECTION, AGAIN):
        text = ours.sub("", text)
    return SERVER.sub(r"\1;", text) if "upstream app" in text else text


class StockNative:
    """The same stack with plain files; operations are `nginx -s reload` and ending processes."""

    def __init__(self, stack: Scratch) -> None:
        self.url = stack.url
        state = stack.folder / "state"
        self._conf = state / "nginx/conf"
        self._supervisord = Supervisord(state / "supervisor", state / "supervisor.sock")
        for path in self._conf.rglob("*.conf"):
            path.write_text(plain(path.read_text()))
        self.reload()
        time.sleep(PAUSE_SECONDS)

    def workers(self) -> list[int]:
        return [int(port) for port in re.findall(r"server 127.0.0.1:(\d+)", self._text)]

    def reload(self) -> None:
        self._supervisord.signal_program("nginx", "HUP")

    def restart_all(self) -> None:
        """Each ends at once, as a process without a drain does on SIGTERM; supervisord starts it again."""
        for port in self.workers():
            self.send_signal(port, "KILL")
            time.sleep(PAUSE_SECONDS)

    def scale(self, number: int) -> None:
        """Start workers and reload, or end workers and reload, without waiting for anything."""
        ports = self.workers()
        for port in free_ports(number - len(ports)) if number > len(ports) else []:
            self._add(port)
        for port in ports[number:]:
            self._remove(port)
        self.reload()
        time.sleep(PAUSE_SECONDS)

    def drain(self, port: int) -> None:
        self._rewrite(f"server 127.0.0.1:{port};", f"server 127.0.0.1:{port} down;")
        self.reload()
        time.sleep(PAUSE_SECONDS)

    def undrain(self, port: int) -> None:
        self._rewrite(f"server 127.0.0.1:{port} down;", f"server 127.0.0.1:{port};")
        self.reload()
        time.sleep(PAUSE_SECONDS)

    def send_signal(self, port: int, name: str) -> None:
        self._supervisord.signal_program(worker_name(port), name)

    def _add(self, port: int) -> None:
        like = self.workers()[-1]
        programs = self._supervisord.programs
        section = (programs / f"{worker_name(like)}.conf").read_text()
        (programs / f"{worker_name(port)}.conf").write_text(section.replace(str(like), str(port)))
        self._supervisord.add_programs([worker_name(port)])
        line = f"server 127.0.0.1:{like};"
        self._rewrite(line, f"{line}\n    server 127.0.0.1:{port};")

    def _remove(self, port: int) -> None:
        self.send_signal(port, "KILL")
        self._supervisord.remove_programs([worker_name(port)])
        self._rewrite(f"server 127.0.0.1:{port};", "")

    def _rewrite(self, old: str, new: str) -> None:
        self._path.write_text(self._text.replace(old, new))

    @property
    def _text(self) -> str:
        return self._path.read_text()

    @property
    def _path(self) -> Path:
        return self._conf / "upstream.conf"
