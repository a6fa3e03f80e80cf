"""One Prometheus as a child of this process: its files, its start, and the questions it answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from deploy.ask import NoAnswer, ask
from deploy.paths import ROOT
from deploy.read_number import read_whole
from deploy.refused import Refused
from deploy.supervisor.daemon import end_with_parent
from deploy.supervisor.start import has_ended

FILES = ROOT / "deploy/watch"
FIGURES = "figures:9105"  # in Docker
ALERTING = re.compile(r"^alerting:\n(?: .*\n)+", re.MULTILINE)
START_SECONDS = 30.0
STOP_SECONDS = 10.0
KEPT = "15d"
SHOWN = ("worker", "server", "replica", "reason")  # of an alert's labels


@dataclass(frozen=True)
class Options:
    """The program, the port of its page, and the address of an Alertmanager, if there is one."""

    program: str
    port: int
    alertmanager: str


def read_watch_options(environ: Mapping[str, str]) -> Options:
    """Refused names what cannot be used."""
    port = read_whole(environ, "PROMETHEUS_PORT", 9090, least=1024, most=65535)
    return Options(find_prometheus(environ), port, environ.get("ALERTMANAGER") or "")


def find_prometheus(environ: Mapping[str, str]) -> str:
    """The program: PROMETHEUS, or the one on PATH."""
    given = environ.get("PROMETHEUS")
    found = shutil.which(given) if given else shutil.which("prometheus")
    if found is None:
        text = f"PROMETHEUS={given} is not a program" if given else "Prometheus was not found"
        raise Refused(f"{text}: Debian and Ubuntu have it (apt-get install prometheus)")
    return found


def write_files(folder: Path, figures: str, alertmanager: str = "") -> Path:
    """prometheus.yml and rules.yml for this machine; returns the first.

    `figures` is the address of our own figures; without an `alertmanager` alerts are shown and told to nobody.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = (FILES / "prometheus.yml").read_text(encoding="utf-8").replace(FIGURES, figures)
    if alertmanager:
        text = text.replace("alertmanager:9093", alertmanager)
    else:
        text = ALERTING.sub("", text)
    (folder / "prometheus.yml").write_text(text, encoding="utf-8")
    shutil.copyfile(FILES / "rules.yml", folder / "rules.yml")
    return folder / "prometheus.yml"


class Prometheus:
    """A running one; `url` is its page."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression at this moment; NoAnswer where it has none."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def over_time(
        self, expression: str, start: float, end: float, points: int
    ) -> list[dict[str, Any]]:
        """Its series between two moments in Unix time, at most that many values of each."""
        times = {"start": str(start), "end": str(end), "step": f"{(end - start) / points:.3f}"}
        found: list[dict[str, Any]] = self._get("query_range", query=expression, **times)["result"]
        return found

    def firing(self) -> dict[str, str]:
        """The alerts that fire, by name and labels, each with its summary."""
        found = {}
        for alert in self._get("alerts")["alerts"]:
            labels = {key: value for key, value in alert["labels"].items() if key in SHOWN}
            name = " ".join([alert["labels"]["alertname"], *labels.values()])
            if alert["state"] == "firing":
                found[name] = alert["annotations"]["summary"]
        return found

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        path = f"/api/v1/{what}?{urlencode(parameters)}"
        text = ask(self.url, path).text
        try:
            answer = json.loads(text)
            if answer["status"] != "success":
                raise NoAnswer(answer["error"])
            data: dict[str, Any] = answer["data"]
        except (ValueError, KeyError, TypeError):
            raise NoAnswer("what answers there is another program") from None
        return data


@contextmanager
def running(program: str, config: Path, port: int, log: Path) -> Iterator[Prometheus]:
    """Prometheus on loopback while the block runs, with its data beside `config`; Refused when it does not start."""
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        f"--storage.tsdb.retention.time={KEPT}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a terminal's Ctrl-C is for this process, which ends that one
            preexec_fn=end_with_parent,
        )
    try:
        prometheus = Prometheus(port)
        _wait_until_ready(prometheus, process, log)
        yield prometheus
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not has_ended(process) and time.monotonic() < deadline:
        try:
            if ask(prometheus.url, "/-/ready", seconds=1).status == 200:
                return
        except NoAnswer:
            pass
        time.sleep(0.1)
    end = log.read_text(errors="replace").splitlines()[-5:]
    raise Refused(os.linesep.join(["Prometheus does not start; its last lines:", *end]))
