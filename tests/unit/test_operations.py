"""What operations say and edit, without a stack."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.counted import counted
from deploy.lock import held
from deploy.native.options import read_options
from deploy.native.running import Running
from deploy.operations import end_sessions
from deploy.operations.docker import listed, nginx_processes
from deploy.operations.drain import drain, undrain
from deploy.operations.restart import pause_seconds
from deploy.operations.scale import scale
from deploy.operations.store import count_keys
from deploy.refused import Refused
from deploy.replace_file import replace_file
from deploy.supervisor.notes import attended, count_start, forget_starts, is_attended, starts
from deploy.swarm.docker import app_tasks
from deploy.upstream.difference import difference
from deploy.upstream.edit import add_workers, edited, find_server, remove_servers, set_down
from deploy.upstream.read import Server, Upstream, parse_upstream, worker_port
from deploy.watch.prometheus import read_watch_options

TEXT = """upstream app {
    # the zone
    zone app 512k;

    server app:8001 weight=2;  # the big one
    server app:8002 max_fails=1 fail_timeout=1s resolve;
    server 192.0.2.7:9000;
    # the last
    server app:8003 max_fails=1 down;   # resting
}
"""


def parse(text: str) -> Upstream:
    return parse_upstream(text, Path("nginx/upstream.conf"))


CHANGES = {
    "nothing": ("zone", "zone", []),
    "a comment": ("# the last", "# the very last", []),
    "a worker more": ("    # the last", "    server app:8005;", ["+ 8005"]),
    "a worker less": (
        "server app:8002 max_fails=1 fail_timeout=1s resolve;",
        "",
        ["− 8002"],
    ),
    "a server elsewhere": (
        "192.0.2.7:9000",
        "192.0.2.8:9000",
        ["+ 192.0.2.8:9000", "− 192.0.2.7:9000"],
    ),
    "a weight": ("weight=2", "weight=3", ["8001 weight 2 → 3"]),
    "no weight": (" weight=2", "", ["8001 weight 2 → 1"]),
    "a time": ("fail_timeout=1s", "fail_timeout=5s", ["8002 fail_timeout 1s → 5s"]),
    "aside": ("weight=2", "weight=2 down", ["8001 out of rotation (down)"]),
    "back": (" down;", ";", ["8003 back in rotation (no longer down)"]),
    "no resolve": (" resolve", "", ["8002 no longer with resolve"]),
    "the zone": ("512k", "1m", ["zone app 512k → app 1m"]),
    "keepalive": ("# the zone", "keepalive 64;", ["keepalive none → 64"]),
    "a policy": (
        "# the zone",
        "least_conn;",
        [
            "algorithm: round robin → least_conn "
            "(sessions stay shared; the even-spread proof does not apply)"
        ],
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_difference(kind: str) -> None:
    """Each kind of change is said in a few words, and what means nothing is not."""
    old, new, said = CHANGES[kind]
    assert old in TEXT

    assert difference(parse(TEXT), parse(TEXT.replace(old, new, 1))) == said


def test_policy_with_words() -> None:
    """The words of a policy belong to its name, also when it goes."""
    hashed = TEXT.replace("# the zone", "hash $cookie_sid consistent;")

    assert difference(parse(hashed), parse(TEXT)) == [
        "algorithm: hash $cookie_sid consistent → round robin"
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_added_lines(end: str) -> None:
    """New workers are like the last one and stand below it, in rotation; all other bytes stay."""
    text = TEXT.replace("\n", end)
    changed = add_workers(text, parse(text), [8004, 8005])
    old, new = text.split(end), changed.split(end)

    assert new[9:11] == [f"    server app:{port} max_fails=1;" for port in (8004, 8005)]
    assert new[:9] + new[11:] == old


def test_added_to_a_file_without_last_line_end() -> None:
    """Where the last line of the file has no end, the new lines still stand on their own."""
    text = "upstream app {\n    zone app 512k;\n    server app:8001;}"
    with pytest.raises(Refused, match="line 3: write one whole server on a line of its own"):
        add_workers(text, parse(text), [8002])
    changed = add_workers(TEXT.rstrip("\n"), parse(TEXT), [8004])

    assert changed.endswith("    server app:8004 max_fails=1;\n}")


def test_removed_lines() -> None:
    """Removing takes these lines away, and nothing else."""
    upstream = parse(TEXT)
    changed = remove_servers(TEXT, upstream, [upstream.servers[1], upstream.servers[3]])
    gone = {5, 8}

    assert changed.splitlines() == [
        line for number, line in enumerate(TEXT.splitlines()) if number not in gone
    ]


def test_down_and_up_again() -> None:
    """`down` is added before the `;` and taken off again; the comment stays."""
    upstream = parse(TEXT)
    down = set_down(TEXT, upstream, upstream.servers[0], True)

    assert "    server app:8001 weight=2 down;  # the big one\n" in down
    assert set_down(down, parse(down), upstream.servers[0], False) == TEXT


@pytest.mark.parametrize("word", ["8002", "app:8002", "worker-8002", "127.0.0.1:8002"])
def test_names_of_a_worker(word: str) -> None:
    """A worker is found by its port, its address and its name in logs."""
    assert find_server(parse(TEXT), word).line == 6


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda text: scale({}, text), "N"),
        (lambda text: app_tasks({"APP_TASKS": text}), "APP_TASKS"),
        (lambda text: read_watch_options({"PROMETHEUS_PORT": text}), "PROMETHEUS_PORT"),
    ],
)
@pytest.mark.parametrize("text", ["٣", "1_0", "x"])
def test_numbers_of_commands(read: Callable[[str], object], name: str, text: str) -> None:
    """Numbers of commands take the digits 0 to 9 alone; else they are refused before anything is looked for."""
    with pytest.raises(Refused, match=f"^{name}={text} .*digits 0 to 9"):
        read(text)


def test_digits_that_nginx_does_not_know() -> None:
    """A weight of other digits counts as one here, as nginx refuses it; no worker is named with such."""
    (server,) = parse("upstream app {\n    server app:8001 weight=٣;\n}\n").servers

    assert server.weight == 1
    assert worker_port("worker-٣") is None


@pytest.mark.parametrize("command", [drain, undrain])
@pytest.mark.parametrize("word", ["", " "])
def test_no_server_is_named(command: Callable[..., None], word: str) -> None:
    """Without a server the refusal says how one is written, whether a stack runs or not."""
    with pytest.raises(Refused, match=f"write which server, .*: make {command.__name__} W=8002"):
        command({}, word)


def test_unknown_server() -> None:
    """A server that is not there is refused with those that are."""
    with pytest.raises(Refused, match="no server 8009; its workers are 8001, 8002, 8003"):
        find_server(parse(TEXT), "8009")


def test_written_at_once(tmp_path: Path) -> None:
    """The file is replaced whole, keeps its mode, and a link to it stays a link."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    with open(real) as reader:
        replace_file(link, "new")

        assert reader.read() == "old"
    assert (link.is_symlink(), real.read_text(), real.stat().st_mode & 0o777) == (
        True,
        "new",
        0o640,
    )
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("left", ["new", "somebody else's"])
def test_edit_is_undone(tmp_path: Path, left: str) -> None:
    """When what follows an edit is refused, the file is as before; but not what others wrote meanwhile."""
    path = tmp_path / "upstream.conf"
    path.write_text("old")

    def edit_and_fail() -> None:
        with edited(path, "new"):
            assert path.read_text() == "new"
            path.write_text(left)
            raise Refused("no")

    with pytest.raises(Refused):
        edit_and_fail()
    assert path.read_text() == ("old" if left == "new" else left)


@pytest.mark.parametrize(
    ("parameter", "seconds"),
    [("fail_timeout=1s", 1), ("fail_timeout=500ms", 0.5), ("fail_timeout=2", 2), ("weight=2", 10)],
)
def test_pause_is_longer_than_fail_timeout(parameter: str, seconds: float) -> None:
    """Between two restarts passes more than fail_timeout, which is ten seconds unless it is given."""
    assert seconds < pause_seconds(Server("app", 8001, (parameter,), 1)) < seconds + 1


def test_containers_of_each_compose() -> None:
    """What `docker compose ps --format json` prints is read: one list before Compose 2.21, a line each since."""
    one, two = {"ID": "1"}, {"ID": "2"}
    assert listed(json.dumps([one, two]) + "\n") == [one, two]
    assert listed(f"{json.dumps(one)}\n{json.dumps(two)}\n") == [one, two]
    assert listed("[]\n") == listed("\n") == listed("") == []


def test_nginx_processes_of_a_container() -> None:
    """The listing of `docker top` is read: workers, their age, and which are leaving."""
    listing = """PID ELAPSED COMMAND
10 100 nginx: master process nginx -p /tmp/
11 100 nginx: worker process is shutting down
12 3 nginx: worker process
"""
    found = nginx_processes(listing)

    assert [(p.pid, p.age_seconds, p.shutting_down) for p in found] == [
        (11, 100, True),
        (12, 3, False),
    ]


def test_keys_are_counted_by_kind() -> None:
    """Sessions and users are told apart by what follows the prefix; what lacks it is another application's."""
    keys = [b"session:{ab}:1", b"user:{ab}:ann", b"session:{ab}:2", b"shop:session:{ab}:3"]

    assert count_keys(keys, 4, b"") == (Counter({b"session": 2, b"user": 1, b"shop": 1}), True)
    assert count_keys(keys, 4, b"shop:") == (Counter({b"": 3, b"session": 1}), True)


def test_too_many_keys_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """When counting takes too long, the share seen so far stands for all, and is called an estimate."""
    monkeypatch.setattr("deploy.operations.store.COUNT_SECONDS", 0.0)

    assert count_keys(iter([b"session:{a}:1", b"session:{a}:2"]), 1000, b"") == (
        Counter({b"session": 1000}),
        False,
    )


def test_starts_are_counted(tmp_path: Path) -> None:
    """Each start of a program counts one, until the program is a new one."""
    for _ in range(3):
        count_start(tmp_path, "worker-8001")
    assert (starts(tmp_path, "worker-8001"), starts(tmp_path, "worker-8002")) == (3, 0)
    forget_starts(tmp_path, "worker-8001")

    assert starts(tmp_path, "worker-8001") == 0


def test_attended_program(tmp_path: Path) -> None:
    """A program counts as attended while somebody holds its lock, and no other does."""
    path = attended(tmp_path, "worker-8001")
    os.makedirs(path.parent)
    with held(path):
        assert is_attended(tmp_path, "worker-8001")
        assert not is_attended(tmp_path, "worker-8002")

    assert not is_attended(tmp_path, "worker-8001")


def test_one_is_not_several() -> None:
    """One of a thing has no s."""
    assert [counted(number, "server") for number in (0, 1, 2)] == [
        "0 servers",
        "1 server",
        "2 servers",
    ]


def test_sessions_end_where_the_workers_have_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Redis that the shell gave to `make run` alone is the one that is asked, as the running stack tells."""
    given = {"STACK_DIR": str(tmp_path), "ENV_FILE": ""}
    running = Running(read_options(given), {**given, "REDIS_URL": "redis://elsewhere"})
    asked: list[str] = []
    monkeypatch.setattr(end_sessions, "find_running", lambda _: running)
    monkeypatch.setattr(
        end_sessions.subprocess,
        "run",
        lambda *_, env, **__: asked.append(env["REDIS_URL"]) or Done(),
    )
    with held(tmp_path / "run.pid"):
        assert end_sessions.end_sessions("ann", given) == 0

    assert asked == ["redis://elsewhere"]


class Done:
    returncode = 0
