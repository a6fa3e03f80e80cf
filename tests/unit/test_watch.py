"""What is in deploy/watch and docs/watch.md, and what is read from nginx's log."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.watch.native import changes
from deploy.watch.nginx_log import NginxLog
from deploy.watch.prometheus import find_prometheus, write_files
from tests.documents import sections

WATCH = ROOT / "deploy/watch"
PAGE = (ROOT / "docs/watch.md").read_text()
RULES = yaml.safe_load((WATCH / "rules.yml").read_text())


def alerts() -> Iterator[dict[str, Any]]:
    """Each alert of rules.yml."""
    for group in RULES["groups"]:
        yield from (rule for rule in group["rules"] if "alert" in rule)


def test_runbook() -> None:
    """Each alert has a paragraph that begins with a command to type, and says its severity; no other has one."""
    parts = re.split(r"^### (\w+)\n\n", sections(PAGE)["Alerts"], flags=re.MULTILINE)
    paragraphs = dict(zip(parts[1::2], parts[2::2], strict=True))

    assert set(paragraphs) == {alert["alert"] for alert in alerts()}
    for alert in alerts():
        text = paragraphs[alert["alert"]]
        assert re.match(r"`(make|docker|df) ", text), alert["alert"]
        assert f"{alert['labels']['severity']}".capitalize() in text, alert["alert"]


def test_each_alert_has_a_unit_test() -> None:
    """rules_test.yml has every alert fire."""
    text = (WATCH / "rules_test.yml").read_text()
    tests = yaml.safe_load(text)["tests"]
    fired = {
        name
        for one in tests
        for expr in one["promql_expr_test"]
        if expr["exp_samples"]
        for name in re.findall(r'alertname=~?"([\w|.*]+)"', f"{expr['expr']} {expr['exp_samples']}")
    }
    fired |= {part for name in fired for part in name.split("|")}
    assert {alert["alert"] for alert in alerts()} <= fired


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]],
    ids=["check", "test"],
)
def test_promtool(command: list[str]) -> None:
    """promtool finds the rules in order, and each alert fires and ends in its unit test."""
    done = subprocess.run(["promtool", *command], cwd=WATCH, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_files(tmp_path: Path) -> None:
    """A native Prometheus scrapes this machine's figures, and knows an Alertmanager only if one is named."""
    config = yaml.safe_load(write_files(tmp_path, "127.0.0.1:1234").read_text())
    told = yaml.safe_load(write_files(tmp_path, "127.0.0.1:1234", "127.0.0.1:9").read_text())
    workers, stack = config["scrape_configs"]

    assert workers["http_sd_configs"][0]["url"] == "http://127.0.0.1:1234/targets"
    assert stack["static_configs"] == [{"targets": ["127.0.0.1:1234"]}]
    assert "alerting" not in config
    assert told["alerting"]["alertmanagers"][0]["static_configs"] == [{"targets": ["127.0.0.1:9"]}]
    assert (tmp_path / "rules.yml").read_text() == (WATCH / "rules.yml").read_text()


def test_no_prometheus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Prometheus the refusal says where it comes from."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for environ in ({}, {"PROMETHEUS": "/nowhere"}):
        with pytest.raises(Refused, match="apt-get install prometheus"):
            find_prometheus(environ)


def test_what_is_said_of_alerts() -> None:
    """An alert is told when it begins, with its paragraph, and when it ends; not in between."""
    now = {"WorkerDown 127.0.0.1:8001": "It does not answer."}

    (begun,) = changes({}, now)
    assert (
        begun == "FIRES  WorkerDown 127.0.0.1:8001: It does not answer.  docs/watch.md#workerdown"
    )
    assert changes(now, now) == []
    assert changes(now, {}) == ["ended  WorkerDown 127.0.0.1:8001"]


def line(
    upstream: str = "127.0.0.1:1", status: int = 200, seconds: float = 0.02, path: str = "/"
) -> str:
    fields = {"upstream": upstream, "status": status, "request_time": seconds, "path": path}
    return json.dumps(fields) + "\n"


def counted(log: NginxLog) -> dict[str, float]:
    """Each sample that is not a bucket, after another look."""
    log.read()
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for metric in log.metrics()
        for sample in metric.samples
        if "le" not in sample.labels
    }


def test_nginx_log(tmp_path: Path) -> None:
    """From now on: requests by upstream and status, failed tries, and durations without /events."""
    path = tmp_path / "access.log"
    path.write_text(line())
    log = NginxLog(path)
    with path.open("a") as file:
        file.write(line() + line("127.0.0.1:1, 127.0.0.1:2", 502))
        file.write(
            line("", 404, path="/static/x") + line(seconds=900, path="/events") + "no JSON\n{"
        )

    assert counted(log) == {
        "nginx_requests_total 127.0.0.1:1 200": 2,
        "nginx_requests_total 127.0.0.1:2 502": 1,
        "nginx_requests_total  404": 1,
        "nginx_upstream_failures_total 127.0.0.1:1": 1,
        "nginx_request_duration_seconds_count": 3,
        "nginx_request_duration_seconds_sum": pytest.approx(0.06),
    }


@pytest.mark.parametrize("how", ["cut", "replaced", "begun"])
def test_nginx_log_goes_on(tmp_path: Path, how: str) -> None:
    """A log that is cut, replaced, or only begun later is read from its new beginning."""
    path = tmp_path / "access.log"
    if how != "begun":
        path.write_text(line() * 9)
    log = NginxLog(path)
    log.read()
    if how == "replaced":
        shutil.move(path, tmp_path / "access.log.1")
    path.write_text(line())

    assert counted(log)["nginx_requests_total 127.0.0.1:1 200"] == 1
