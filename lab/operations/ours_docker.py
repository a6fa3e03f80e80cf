"""Operations on the stack in Docker as this project does them: its own commands, and those of Compose."""

from __future__ import annotations

import sys

from deploy.supervisor.container import FOLDER
from deploy.upstream.read import worker_name
from lab.operations.compose import ComposeScratch
from lab.operations.ours import Ours

TO = ("up", "--detach", "--no-deps", "--wait")


class OursDocker(Ours):
    """A stack in Docker; its containers are changed with `docker compose`."""

    def __init__(self, stack: ComposeScratch) -> None:
        super().__init__(stack.url, stack.nginx / "upstream.conf")
        self._stack = stack

    def send_signal(self, port: int, name: str) -> None:
        send_signal(self._stack, port, name)

    def recreate(self) -> None:
        self._stack.compose(*TO, "--force-recreate", "app")

    def containers(self, number: int) -> None:
        self._stack.compose(*TO, "--no-recreate", "--scale", f"app={number}", "app")

    def replace(self) -> None:
        """As the README says it for a container of a new image."""
        old = self._stack.compose("ps", "--quiet", "app").split()
        self.containers(2 * len(old))
        self._stack.run("docker", "stop", *old)
        self._stack.run("docker", "rm", *old)

    def deploy(self, *arguments: str) -> None:
        self._stack.run(sys.executable, "-m", "deploy", *arguments)


def send_signal(stack: ComposeScratch, port: int, name: str) -> None:
    """Have supervisord in the app container send it; returns once it is sent."""
    control = (
        "python",
        "-m",
        "supervisor.supervisorctl",
        "-s",
        f"unix://{FOLDER}/supervisord.sock",
    )
    stack.compose("exec", "-T", "app", *control, "signal", name, worker_name(port))
