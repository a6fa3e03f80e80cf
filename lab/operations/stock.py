"""The negative control: nginx's defaults, and workers that simply end.  What is lost here, ours must save."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from pathlib import Path

from deploy.free_port import free_ports
from deploy.native.scratch import Scratch
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
AGAIN = re.compile(r"^error_page 50[24] = @again\w*;.*$", re.MULTILINE)
SERVER = re.compile(r"^(\s*server\s+[\w.]+:\d+)[^;]*;", re.MULTILINE)
PAUSE_SECONDS = 1.0  # between two workers of a restart, as in a shell loop with `sleep 1`


def plain(text: str) -> str:
    """A configuration file without what this project adds to nginx's defaults."""
    for ours in (LINE, CONNECTION, AGAIN):
        text = ours.sub("", text)
    return SERVER.sub(r"\1;", text) if "upstream app" in text else text


class Stock(ABC):
    """What is the same wherever the stack runs; `host` is how its upstream file names the workers."""

    def __init__(self, url: str, upstream_conf: Path, host: str) -> None:
        self.url = url
        self._upstream_conf, self._host = upstream_conf, host

    @abstractmethod
    def reload(self) -> None:
        """Have nginx read its files again."""

    @abstractmethod
    def send_signal(self, port: int, name: str) -> None:
        """Send it to the worker on `port`."""

    def workers(self) -> list[int]:
        text = self._upstream_conf.read_text()
        return [int(port) for port in re.findall(rf"server {self._host}:(\d+)", text)]

    def restart_all(self) -> None:
        """Each ends at once, as a process without a drain does on SIGTERM; supervisord starts it again."""
        for port in self.workers():
            self.send_signal(port, "KILL")
            time.sleep(PAUSE_SECONDS)

    def drain(self, port: int) -> None:
        self.rewrite(self.line(port), self.line(port).replace(";", " down;"))
        self.reload()

    def undrain(self, port: int) -> None:
        self.rewrite(self.line(port).replace(";", " down;"), self.line(port))
        self.reload()

    def line(self, port: int) -> str:
        """The worker's line of the upstream file."""
        return f"server {self._host}:{port};"

    def rewrite(self, old: str, new: str) -> None:
        """Change the upstream file; nginx does not know yet."""
        self._upstream_conf.write_text(self._upstream_conf.read_text().replace(old, new))


class StockNative(Stock):
    """The same stack with plain files; operations are `nginx -s reload` and ending processes."""

    def __init__(self, stack: Scratch) -> None:
        state = stack.folder / "state"
        super().__init__(stack.url, state / "nginx/conf/upstream.conf", "127.0.0.1")
        self._supervisord = Supervisord(state / "supervisor", state / "supervisor.sock")
        for path in self._upstream_conf.parent.rglob("*.conf"):
            path.write_text(plain(path.read_text()))
        self.reload()

    def reload(self) -> None:
        self._supervisord.signal_program("nginx", "HUP")
        time.sleep(PAUSE_SECONDS)

    def scale(self, number: int) -> None:
        """Start workers and reload, or end workers and reload, without waiting for anything."""
        ports = self.workers()
        for port in free_ports(number - len(ports)) if number > len(ports) else []:
            self._add(port)
        for port in ports[number:]:
            self._remove(port)
        self.reload()

    def send_signal(self, port: int, name: str) -> None:
        self._supervisord.signal_program(worker_name(port), name)

    def _add(self, port: int) -> None:
        like = self.workers()[-1]
        programs = self._supervisord.programs
        section = (programs / f"{worker_name(like)}.conf").read_text()
        (programs / f"{worker_name(port)}.conf").write_text(section.replace(str(like), str(port)))
        self._supervisord.add_programs([worker_name(port)])
        self.rewrite(self.line(like), f"{self.line(like)}\n    {self.line(port)}")

    def _remove(self, port: int) -> None:
        self.send_signal(port, "KILL")
        self._supervisord.remove_programs([worker_name(port)])
        self.rewrite(self.line(port), "")
