"""Where the stack runs in Swarm: the engine's own command for what an operation does elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.swarm.docker import is_manager, services, stack_name

COMMANDS = {
    "status": "docker stack ps {name}",
    "reload": "make swarm-up",
    "scale": "docker service scale {name}_app=4, or other lines in upstream.conf and make swarm-up",
    "drain": "`down` in upstream.conf and make swarm-up, for a node docker node update --availability drain NODE",
    "undrain": "no `down` in upstream.conf and make swarm-up, for a node docker node update --availability active NODE",
    "rolling-restart": "docker service update --force {name}_app",
}


def in_swarm(environ: Mapping[str, str], command: str) -> str | None:
    """One sentence with the command; None where no such stack runs in a swarm of this engine."""
    name = stack_name(environ)
    if command not in COMMANDS or not is_manager() or not services(name):
        return None
    return f"{name} runs in Docker Swarm; there it is: {COMMANDS[command].format(name=name)}"
