"""deploy/swarm/stack.yml against docker-compose.yml, and what the commands for Swarm make of the settings."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.swarm import follow
from deploy.swarm.files import NOTHING, archive, version, workers_only, write_files
from deploy.swarm.follow import state_of
from deploy.upstream.read import parse_upstream, read_upstream
from deploy.watch.container import PORT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
STACK: dict[str, Any] = yaml.safe_load((ROOT / "deploy/swarm/stack.yml").read_text())
SWARM: dict[str, Any] = STACK["services"]
HA: dict[str, Any] = yaml.safe_load((ROOT / "deploy/swarm/ha.yml").read_text())["services"]
BOTH = ("nginx", "app", "redis")
PARTNER = {**{name: name for name in BOTH}, "files": "https"}  # what does the same in Compose


def names(environment: dict[str, Any]) -> set[str]:
    return {name.removesuffix("_FILE") for name in environment}


def test_images_are_those_of_compose() -> None:
    """Each image is a variable that `make swarm-up` fills with what Compose would run."""
    for name, partner in PARTNER.items():
        variable = COMPOSE[partner]["image"].partition(":-")[0]
        assert SWARM[name]["image"] == f"{variable}}}"


def test_settings_are_those_of_compose() -> None:
    """Workers are told the same settings; what nginx's files are made from, too."""
    assert names(SWARM["app"]["environment"]) == names(COMPOSE["app"]["environment"])
    assert names(SWARM["files"]["environment"]) == names(COMPOSE["https"]["environment"])


def test_limits_are_those_of_compose() -> None:
    """Memory, processes, open files, grace and what a container may do are the same."""
    for name, partner in PARTNER.items():
        ours, theirs = SWARM[name], COMPOSE[partner]
        limits = ours["deploy"]["resources"]["limits"]
        assert limits == {"memory": theirs["mem_limit"], "pids": theirs["pids_limit"]}
        assert ours["read_only"] is theirs["read_only"] is True
        assert ours["cap_drop"] == theirs["cap_drop"] == ["ALL"]
        assert (
            f"${{NOFILE:-{ours['ulimits']['nofile']['hard']}}}"
            == theirs["ulimits"]["nofile"]["hard"]
        )
        assert ours["logging"] == theirs["logging"]
        for key in ("stop_grace_period", "stop_signal"):
            assert ours.get(key) == theirs.get(key)


def test_health_is_asked_as_in_compose() -> None:
    """Workers and Redis are asked the same question, but nobody is replaced as soon as Compose would call him unhealthy."""
    for name in BOTH:
        ours, theirs = SWARM[name]["healthcheck"], COMPOSE[name]["healthcheck"]
        assert ours["test"][0] == theirs["test"][0]
        assert ours["interval"] == theirs["interval"]
        assert ours["start_interval"] == theirs["start_interval"]
        assert ours["retries"] > 3 * theirs["retries"]
    assert SWARM["app"]["healthcheck"]["test"] == COMPOSE["app"]["healthcheck"]["test"]


def test_only_nginx_is_published() -> None:
    """Ports of nginx alone are open, on the node itself, and networks are closed but for nginx's."""
    assert [name for name in SWARM if "ports" in SWARM[name]] == ["nginx"]
    assert {port["mode"] for port in SWARM["nginx"]["ports"]} == {"host"}
    assert [name for name, one in STACK["networks"].items() if not one] == ["outside"]
    assert [name for name in SWARM if "outside" in SWARM[name]["networks"]] == ["nginx"]
    for name in BOTH:
        assert SWARM[name]["networks"] == COMPOSE[name]["networks"]


def test_figures_are_those_of_compose() -> None:
    """What Prometheus asks in Swarm is the service of Compose: its command, networks and limits, under the same name."""
    ours = yaml.safe_load((ROOT / "deploy/swarm/watch.yml").read_text())["services"]["figures"]
    theirs = COMPOSE["figures"]
    assert ours["command"] == theirs["command"]
    assert ours["networks"] == [*theirs["networks"], "outside"]
    assert ours["stop_grace_period"] == theirs["stop_grace_period"]
    assert names(ours["environment"]) == names(theirs["environment"])
    limits = ours["deploy"]["resources"]["limits"]
    assert limits == {"memory": theirs["mem_limit"], "pids": theirs["pids_limit"]}
    asked = (ROOT / "deploy/watch/prometheus.yml").read_text()
    assert f"figures:{PORT}" in asked


@pytest.mark.parametrize("name", {**HA, **SWARM})
def test_mounts_are_in_the_order_of_the_engines_command(name: str) -> None:
    """`docker service update` sorts mounts by source, so another order here would replace every task at the next swarm-up."""
    mounts = {**HA, **SWARM}[name]["volumes"]
    sources = [m.split(":")[0] if isinstance(m, str) else m.get("source", "") for m in mounts]
    assert sources == sorted(sources)


def test_servers_with_replicas_are_like_the_one_without() -> None:
    """With REPLICAS=2 each server of Redis has the limits, health check and rights of the one that stands alone."""
    alone = SWARM["redis"]
    for name in ("redis", "redis-2", "redis-3"):
        server = {**alone, **HA[name]}
        for key in ("image", "user", "read_only", "cap_drop", "ulimits", "logging", "networks"):
            assert server[key] == alone[key]
        assert server["healthcheck"] == alone["healthcheck"]
        for key in ("resources", "endpoint_mode", "restart_policy", "update_config"):
            assert server["deploy"][key] == alone["deploy"][key]
        assert set(alone["secrets"]) < set(server["secrets"])


def test_each_server_stays_on_its_node() -> None:
    """A server and its Sentinel have one node, which keeps their volumes, and each pair another label."""
    labels = []
    for number in (1, 2, 3):
        server = "redis" if number == 1 else f"redis-{number}"
        placed = ({**SWARM, **HA}[f"sentinel-{number}"], {**HA, "redis": SWARM["redis"]}[server])
        (rule,) = {one["deploy"]["placement"]["constraints"][0] for one in placed}
        labels.append(rule)
    assert labels == [
        f"node.labels.round-robin-redis{number} == yes" for number in ("", "-2", "-3")
    ]


def test_sentinels_are_asked(tmp_path: Path) -> None:
    """With REPLICAS=2 workers ask the Sentinels, with a password; another Redis, or none of its replicas, is as before."""
    upstream = read_upstream(ROOT / "nginx/upstream.conf")
    write_files({"REPLICAS": "2"}, tmp_path, upstream)
    url = (tmp_path / "redis_url").read_text()
    assert "@sentinel-1,sentinel-2,sentinel-3/mymaster/0?sentinel_password=" in url
    assert f"requirepass {url.rpartition('=')[2]}\n" in (tmp_path / "redis_sentinel").read_text()
    write_files({"REPLICAS": "2", "REDIS_URL": "redis://other"}, tmp_path, upstream)
    assert (tmp_path / "redis_url").read_text() == "redis://other"
    with pytest.raises(Refused, match="REPLICAS=1 must be 0 or 2 in Swarm"):
        write_files({"REPLICAS": "1"}, tmp_path, upstream)


def test_tasks_are_replaced_without_loss() -> None:
    """New workers are healthy before old ones leave, a bad roll-out is taken back, and a dead task comes back at once."""
    for name in BOTH:
        deploy = SWARM[name]["deploy"]
        assert deploy["endpoint_mode"] == "dnsrr"
        assert deploy["restart_policy"] == {"condition": "any", "delay": "500ms"}
    app = SWARM["app"]["deploy"]["update_config"]
    assert (app["order"], app["failure_action"], app["parallelism"]) == (
        "start-first",
        "rollback",
        1,
    )


def test_versions_name_contents(tmp_path: Path) -> None:
    """A name changes with the content and only then; it differs from one installation to the next."""
    upstream = read_upstream(ROOT / "nginx/upstream.conf")
    first = write_files({}, tmp_path / "a", upstream)
    assert write_files({}, tmp_path / "a", upstream) == first

    changed = write_files({"DEMO_PASSWORD": "other"}, tmp_path / "a", upstream)
    assert {name for name in first if changed[name] != first[name]} == {"DEMO_PASSWORD_VERSION"}
    assert version(b"demo", b"one") != version(b"demo", b"two")
    files = "".join(
        (ROOT / f"deploy/swarm/{name}.yml").read_text() for name in ("stack", "ha", "watch")
    )
    used = {name for name in first if f"${{{name}}}" in files}
    assert used == set(first)


def test_workers_alone_reach_the_app(tmp_path: Path) -> None:
    """An edit of upstream.conf that changes no worker changes nothing for the app, so its tasks stay."""
    path = ROOT / "nginx/upstream.conf"
    before = read_upstream(path)
    drained = parse_upstream(path.read_text().replace("app:8002 ", "app:8002 down "), path)
    fewer = parse_upstream(
        path.read_text().replace("    server app:8004", "    # server app:8004"), path
    )
    assert workers_only(before) == workers_only(drained) != workers_only(fewer)
    assert len(parse_upstream(workers_only(before).decode(), path).workers) == len(before.workers)


def test_archive_is_the_folder() -> None:
    """nginx's files travel as one archive, each as it is."""
    content = archive(ROOT / "nginx", ROOT / "nginx/upstream.conf")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        found = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
    assert found == {name: (ROOT / "nginx" / name).read_bytes() for name in found}
    assert {"nginx.conf", "start", "snippets/proxy.conf"} < set(found)


def test_what_is_not_given(tmp_path: Path) -> None:
    """A secret cannot be empty in Swarm: what was not given is a line break, which counts as unset."""
    write_files({}, tmp_path, read_upstream(ROOT / "nginx/upstream.conf"))
    for name in ("demo_password", "users", "tls_cert", "tls_key"):
        assert (tmp_path / name).read_bytes() == NOTHING


def test_file_that_is_missing(tmp_path: Path) -> None:
    """A file that cannot be read is named."""
    with pytest.raises(Refused, match="USERS_FILE"):
        write_files(
            {"USERS_FILE": str(tmp_path / "none")},
            tmp_path,
            read_upstream(ROOT / "nginx/upstream.conf"),
        )


def service(**facts: Any) -> dict[str, Any]:
    template = {"ContainerSpec": {"Image": "new", "Env": ["A=1", "B=2"]}}
    spec = {"Name": "x_app", "Mode": {"Replicated": {"Replicas": 1}}, "TaskTemplate": template}
    return {"Spec": spec, **facts}


def task(image: str, env: list[str]) -> dict[str, Any]:
    spec = {"ContainerSpec": {"Image": image, "Env": env}}
    return {"DesiredState": "running", "Status": {"State": "running"}, "Spec": spec}


BEGAN = 1795946400.0  # 2026-11-29 10:00:00


@pytest.mark.parametrize("state", ["updating", "rollback_completed", "paused"])
def test_roll_out_is_followed(state: str) -> None:
    """An update that goes on, was rolled back or is paused is no success."""
    status = {"State": state, "StartedAt": "2026-11-29T10:00:06.123456789Z"}
    assert state_of(service(UpdateStatus=status), BEGAN) == state


def test_old_tasks_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task counts once it has what was deployed, in whatever order; before the engine begins, none does."""
    running = [task("old", ["A=1", "B=2"])]
    monkeypatch.setattr(follow, "tasks", lambda _: running)
    assert state_of(service(), BEGAN) == "0 of 1 tasks run"
    running[:] = [task("new", ["B=2", "A=1"])]
    assert state_of(service(), BEGAN) == "runs"
