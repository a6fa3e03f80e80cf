"""The negative control in Docker: nginx's defaults, and containers that are ended at once."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from deploy.upstream.read import read_upstream
from lab.operations.compose import ComposeScratch
from lab.operations.ours_docker import TO, send_signal
from lab.operations.stock import PAUSE_SECONDS, plain

NGINX = ("nginx", "-p", "/tmp/", "-e", "stderr", "-c", "/etc/nginx/stack/nginx.conf")
OURS, STOCK = "./nginx:/etc/nginx/stack:", "./stock:/etc/nginx/stack:"
AT_ONCE = ("--timeout", "0")  # SIGKILL, as for a process without a drain


def reload_nginx(stack: ComposeScratch) -> None:
    """Have it read its files again, and give it the time."""
    stack.compose("exec", "-T", "nginx", *NGINX, "-s", "reload")
    time.sleep(PAUSE_SECONDS)


class StockDocker:
    """The same containers with plain files; nginx is reloaded when containers have changed."""

    def __init__(self, stack: ComposeScratch) -> None:
        self.url = stack.url
        self._stack = stack
        # A copy: the app containers would refuse an upstream without a zone.
        self._files = stack.folder / "stock"
        shutil.copytree(stack.nginx, self._files)
        for path in self._files.rglob("*.conf"):
            path.write_text(plain(path.read_text()))
        self._mount(stack.folder / "docker-compose.yml")

    def workers(self) -> list[int]:
        return [server.port for server in read_upstream(self._path).workers]

    def reload(self) -> None:
        reload_nginx(self._stack)

    def restart_all(self) -> None:
        """Each ends at once; supervisord starts it again."""
        for port in self.workers():
            self.send_signal(port, "KILL")
            time.sleep(PAUSE_SECONDS)

    def scale(self, number: int) -> None:
        """Workers are started after nginx knows them, or killed before it forgets them."""
        ports = self.workers()
        for port in range(ports[-1] + 1, ports[-1] + 1 + number - len(ports)):
            last = f"server app:{port - 1};"
            self._rewrite(last, f"{last}\n    server app:{port};")
        for port in ports[number:]:
            self.send_signal(port, "KILL")
            self._rewrite(f"server app:{port};", "")
        self.reload()
        new = [str(port) for port in self.workers() if port not in ports]
        if new:
            self._inside("start", *new)

    def drain(self, port: int) -> None:
        self._rewrite(f"server app:{port};", f"server app:{port} down;")
        self.reload()

    def undrain(self, port: int) -> None:
        self._rewrite(f"server app:{port} down;", f"server app:{port};")
        self.reload()

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

    def _inside(self, *arguments: str) -> None:
        self._stack.compose("exec", "-T", "app", "python", "-m", "deploy", "inside", *arguments)

    def _rewrite(self, old: str, new: str) -> None:
        self._path.write_text(self._path.read_text().replace(old, new))

    @property
    def _path(self) -> Path:
        return self._files / "upstream.conf"
