"""The negative control in Docker: nginx's defaults, and containers that are ended at once."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from lab.operations.compose import ComposeScratch
from lab.operations.ours_docker import TO, send_signal
from lab.operations.stock import PAUSE_SECONDS, Stock, plain

NGINX = ("nginx", "-p", "/tmp/", "-e", "stderr", "-c", "/etc/nginx/stack/nginx.conf")
OURS, STOCK = "./nginx:/etc/nginx/stack:", "./stock:/etc/nginx/stack:"
INSIDE = ("python", "-m", "deploy", "inside")
AT_ONCE = ("--timeout", "0")  # SIGKILL, as for a process without a drain


def reload_nginx(stack: ComposeScratch) -> None:
    """Have it read its files again, and give it the time."""
    stack.compose("exec", "-T", "nginx", *NGINX, "-s", "reload")
    time.sleep(PAUSE_SECONDS)


class StockDocker(Stock):
    """The same containers with plain files; nginx is reloaded when containers have changed."""

    def __init__(self, stack: ComposeScratch) -> None:
        self._stack = stack
        # A copy: the app containers would refuse an upstream without a zone.
        files = stack.folder / "stock"
        super().__init__(stack.url, files / "upstream.conf", "app")
        shutil.copytree(stack.nginx, files)
        for path in files.rglob("*.conf"):
            path.write_text(plain(path.read_text()))
        self._mount(stack.folder / "docker-compose.yml")

    def reload(self) -> None:
        reload_nginx(self._stack)

    def scale(self, number: int) -> None:
        """Workers are started after nginx knows them, or killed before it forgets them."""
        ports = self.workers()
        for port in range(ports[-1] + 1, ports[-1] + 1 + number - len(ports)):
            last = self.line(port - 1)
            self.rewrite(last, f"{last}\n    {self.line(port)}")
        for port in ports[number:]:
            self.send_signal(port, "KILL")
            self.rewrite(self.line(port), "")
        self.reload()
        new = [str(port) for port in self.workers() if port not in ports]
        if new:
            self._stack.compose("exec", "-T", "app", *INSIDE, "start", *new)

    def send_signal(self, port: int, name: str) -> None:
        send_signal(self._stack, port, name)

    def recreate(self) -> None:
        self._stack.compose(*TO, *AT_ONCE, "--force-recreate", "app")
        self.reload()

    def containers(self, number: int) -> None:
        self._stack.compose(*TO, *AT_ONCE, "--no-recreate", "--scale", f"app={number}", "app")
        self.reload()

    def replace(self) -> None:
        """What `docker compose up` does when the image is a new one."""
        self.recreate()

    def _mount(self, compose_file: Path) -> None:
        text = compose_file.read_text()
        if OURS not in text:
            raise ValueError(f"{compose_file.name} mounts the files of nginx elsewhere")
        compose_file.write_text(text.replace(OURS, STOCK))
        self._stack.compose(*TO, "nginx")
