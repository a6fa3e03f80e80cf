"""The workers under one supervisord, changed and asked while it runs; natively and in a container alike."""

from __future__ import annotations

import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy.free_port import is_free
from deploy.lock import held
from deploy.refused import Refused
from deploy.replace_file import replace_file
from deploy.supervisor.daemon import Supervisord
from deploy.supervisor.health import readiness, worker_figures
from deploy.supervisor.notes import attended, forget_starts, starts
from deploy.supervisor.programs import Program
from deploy.upstream.read import OUR_HOST, Server, worker_name

READY_SECONDS = 30.0
RUNS = {"STARTING", "RUNNING", "STOPPING"}
DIED = {"BACKOFF", "FATAL", "STOPPED", "UNKNOWN"}


class Workers:
    """`host` is how X-Served-By names this place; `program` says how a worker is started in it.

    `asked` is an address at which each answers.
    """

    def __init__(
        self,
        supervisord: Supervisord,
        host: str,
        program: Callable[[Server], Program],
        *,
        asked: str = "127.0.0.1",  # what listens on every address listens there, too
    ) -> None:
        self.host = host
        self._asked = asked
        self._supervisord = supervisord
        self._program = program

    def ports(self) -> list[int]:
        """The ports that have a worker, running or not."""
        return self._supervisord.workers()

    def taken(self, ports: Sequence[int]) -> list[int]:
        """Those of `ports` on which something else listens, so that no worker can."""
        return [port for port in ports if not is_free(self._asked, port)]

    def start(self, ports: Sequence[int]) -> None:
        """Start workers and return when all are ready; Refused if one cannot be, and then none is left."""
        with self._attended(ports):
            try:
                for port in ports:
                    forget_starts(self._supervisord.folder, worker_name(port))
                    self._described(port).write(self._supervisord.programs)
                self._supervisord.add_programs(map(worker_name, ports))
                self._wait_until_ready(ports)
            except BaseException:
                self.stop(ports)
                raise

    def stop(self, ports: Sequence[int]) -> None:
        """Drain these, all at once, and forget them."""
        self._supervisord.remove_programs([worker_name(port) for port in ports])
        for port in ports:
            (self._supervisord.programs / f"{worker_name(port)}.conf").unlink(missing_ok=True)

    def restart(self, port: int) -> None:
        """Drain one and return when its successor is ready; Refused if it cannot be, and it stays stopped.

        supervisord itself starts the successor, so whoever asked for it may be killed at any moment.
        """
        name = worker_name(port)
        with self._attended([port]):
            before = self._past_its_start(name)
            if before["statename"] in RUNS:
                self._supervisord.signal_program(name, "TERM")
                self._wait_until_gone(name, before["pid"])
            elif before["statename"] != "BACKOFF":  # there supervisord tries again by itself
                self._supervisord.start_program(name)
            try:
                self._wait_until_ready([port])
            except Refused:
                self._supervisord.stop([name])
                raise

    def move_streams(self) -> None:
        """Have event streams come again through nginx's new processes, before the old ones leave."""
        for port in self.ports():
            if self._problem(port):
                continue  # one that is only starting would end, and has no streams
            with suppress(xmlrpc.client.Fault):  # it has ended since, and its streams with it
                self._supervisord.signal_program(worker_name(port), "USR1")

    def figures(self) -> list[dict[str, Any]]:
        """How each worker is."""
        known = {info["name"]: info for info in self._supervisord.processes()}
        found = []
        for port in self.ports():
            info = known.get(worker_name(port), {"statename": "UNKNOWN", "start": 0, "now": 0})
            uptime = info["now"] - info["start"] if info["statename"] in RUNS else 0
            restarts = max(0, starts(self._supervisord.folder, worker_name(port)) - 1)
            here = {"port": port, "state": info["statename"].lower(), "uptime_seconds": uptime}
            found.append({**here, "restarts": restarts, **worker_figures(port, self._asked)})
        return found

    def keep(self, text: str) -> None:
        """Remember this upstream file as the one that is being served."""
        replace_file(self._applied, text)

    def applied(self) -> str | None:
        """The upstream file that is being served."""
        return self._applied.read_bytes().decode() if self._applied.exists() else None

    @property
    def _applied(self) -> Path:
        return self._supervisord.folder / "upstream.conf"

    def _info(self, name: str) -> dict[str, Any]:
        for info in self._supervisord.processes():
            if info["name"] == name:
                return info
        raise Refused(f"supervisord has no {name}: `make reload` starts what upstream.conf lists")

    def _described(self, port: int) -> Program:
        return self._program(Server(OUR_HOST, port, (), 0))

    @contextmanager
    def _attended(self, ports: Iterable[int]) -> Iterator[None]:
        """While the block runs, a worker that cannot be started does not end the whole stack."""
        folder = self._supervisord.folder
        with ExitStack() as locks:
            for port in ports:
                path = attended(folder, worker_name(port))
                path.parent.mkdir(exist_ok=True)
                locks.enter_context(held(path))
            yield

    def _past_its_start(self, name: str) -> dict[str, Any]:
        """What supervisord knows of it, once it no longer takes an end for a failed start."""
        while (info := self._info(name))["statename"] == "STARTING":
            time.sleep(0.02)
        return info

    def _wait_until_gone(self, name: str, pid: int) -> None:
        """Return when another process has taken over; one that does not end in time is killed."""
        limit = self._described(int(name.rpartition("-")[2])).stop_seconds
        deadline = time.monotonic() + limit
        while self._info(name)["pid"] == pid:
            if time.monotonic() > deadline:
                self._supervisord.signal_program(name, "KILL")
                deadline += limit
            time.sleep(0.02)

    def _wait_until_ready(self, ports: Sequence[int]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        waiting = dict.fromkeys(ports, "")
        while waiting := {port: text for port in waiting if (text := self._problem(port))}:
            states = self._supervisord.states()
            for port, text in waiting.items():
                if states.get(worker_name(port)) in DIED:
                    raise Refused(f"worker {port} ended while it started{self._last_words(port)}")
                if time.monotonic() > deadline:
                    raise Refused(f"worker {port} is not ready after {READY_SECONDS:g} s: {text}")
            time.sleep(0.05)

    def _problem(self, port: int) -> str | None:
        return readiness(port, host=self._asked)

    def _last_words(self, port: int) -> str:
        log = self._described(port).output
        if not log.is_file():
            return "; why is in its log"
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f"; the last line of {log}:\n  {lines[-1]}" if lines else ""
