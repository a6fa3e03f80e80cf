"""`make watch`: Prometheus beside the native stack, until Ctrl-C; says which alerts begin and end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from deploy.ask import NoAnswer
from deploy.free_port import is_free
from deploy.lock import Held, held
from deploy.native.options import read_environ, read_options
from deploy.networks import in_url
from deploy.operations.native import NativeStack, find_native
from deploy.refused import Refused
from deploy.supervisor.daemon import Supervisord
from deploy.supervisor.notes import starts
from deploy.upstream.read import Server, Upstream, parse_upstream
from deploy.watch.figures import Figures, Program, Sources, Target, targets_of
from deploy.watch.nginx_log import NginxLog
from deploy.watch.prometheus import Prometheus, read_watch_options, running, write_files
from deploy.watch.serve import serving

LOOK_SECONDS = 2.0
TRIES = 5  # of a question to Prometheus, before it counts as ended


def watch(environ: Mapping[str, str]) -> None:
    """Watch the stack of STACK_DIR, also while it is stopped and started again; Refused says what is missing."""
    environ = read_environ(environ)
    own = read_watch_options(environ)
    stack = find_native(read_options(environ))
    if stack is None:
        raise Refused(
            "no stack of `make run` is running here; in Docker: docker compose --profile watch up"
        )
    if not is_free("127.0.0.1", own.port):
        raise Refused(f"port {own.port} is in use: choose another one with PROMETHEUS_PORT")
    figures = Figures(sources_of(stack))
    figures.look()
    folder, log = stack.state / "watch", stack.options.logs / "prometheus.log"
    try:
        with held(stack.state / "watch.pid"), serving(figures, "127.0.0.1", 0) as port:
            config = write_files(folder, f"127.0.0.1:{port}", own.alertmanager)
            with running(own.program, config, own.port, log) as prometheus:
                print(f"{prometheus.url}/alerts   watches {stack.name}; Ctrl-C ends it", flush=True)
                _look(figures, prometheus)
    except Held as error:
        raise Refused(f"this stack is watched already, by process {error.pid}") from None
    except KeyboardInterrupt:
        print("\nstopped; what was measured is kept", flush=True)


def sources_of(stack: NativeStack) -> Sources:
    """Where the figures of a native stack come from."""
    options = stack.options
    return Sources(
        site_url=stack.url if options.has_nginx else "",
        targets=_Targets(stack),
        store=lambda: stack.store(count=False),
        certificate=options.tls / "certificate.pem",
        folder=stack.state,
        nginx_log=NginxLog(options.logs / "access.log"),
        programs=lambda: programs(stack.supervisord),
    )


def programs(supervisord: Supervisord) -> Sequence[Program]:
    """Each program; none while supervisord does not answer."""
    return [
        Program(name, state == "RUNNING", starts(supervisord.folder, name))
        for name, state in supervisord.states().items()
    ]


class _Targets:
    """The workers of the upstream file that is being served, and those on other hosts once they have said how they are.

    Another server in that file may be no worker of this kind, and has no figures.
    """

    def __init__(self, stack: NativeStack) -> None:
        self._stack = stack
        self._text: str | None = None
        self._upstream: Upstream | None = None
        self._known: set[Server] = set()

    def __call__(self) -> list[Target]:
        stack = self._stack
        (place,) = stack.places()
        if (text := place.applied()) is not None and text != self._text:
            self._text = text
            self._upstream = parse_upstream(text, stack.upstream_conf, stack.own)
        if self._upstream is None:
            return []
        own = in_url(stack.options.workers_bind)
        places = {server: [own] for server in self._upstream.workers}
        places |= {
            server: [server.host] for server in self._upstream.servers if self._answers(server)
        }
        return targets_of(self._upstream, places)

    def _answers(self, server: Server) -> bool:
        """Whether it is a worker of another host, and has answered once."""
        if server.is_worker or server.host.startswith("unix:"):
            return False
        if server not in self._known and "requests" in self._stack.figures(
            server.host, server.port
        ):
            self._known.add(server)
        return server in self._known


def _look(figures: Figures, prometheus: Prometheus) -> None:
    """Look at the stack and at the alerts every other second, until Ctrl-C; Refused when Prometheus has ended."""
    known: dict[str, str] = {}
    failed = 0
    while True:
        figures.look()
        try:
            now, failed = prometheus.firing(), 0
        except NoAnswer:
            now, failed = known, failed + 1
        if failed > TRIES:
            raise Refused("Prometheus does not answer any more; why is in logs/prometheus.log")
        for text in changes(known, now):
            print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)
        known = now
        time.sleep(LOOK_SECONDS)


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is to be said of two lists of alerts."""
    begun = [
        f"FIRES  {name}: {now[name]}  docs/watch.md#{name.split()[0].lower()}"
        for name in now
        if name not in before
    ]
    return [*begun, *(f"ended  {name}" for name in before if name not in now)]
