"""The security log: whole lines from several processes, bounded in number and size, whatever a name holds."""

from __future__ import annotations

import json
import logging
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from app.audit import AT_ONCE, EVERY_SECONDS, NAME, OF_STRANGERS, Audit, SharedFile
from app.settings import read_settings

HOSTILE = [
    "ann\n{\"event\":\"login_accepted\"}",
    "ann\r\x00\x1b[2J\x7f\x9b",
    "ann\u2028\u202e\ufeff",
    "\ud800",
    "a" * 100_000,
    '"\\',
]  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / NAME).read_bytes().splitlines()]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(tmp_path: Path, name: str) -> None:
    """A name is one text in one line of printable ASCII, cut where it is long."""
    audit = Audit(tmp_path, "w")
    audit.write("account_added", user=name)
    text = (tmp_path / NAME).read_bytes()

    assert text.count(b"\n") == 1
    assert all(32 <= byte < 127 for byte in text[:-1])
    assert len(text) < 1500
    assert json.loads(text)["user"][:100] == name[:100]
    plain = name.encode(errors="surrogatepass")
    assert len(plain) > 1500 or '"' in name or not all(32 <= byte < 127 for byte in plain)


async def test_a_flood_is_counted(tmp_path: Path) -> None:
    """Of what strangers cause a bounded number of lines is written, and the number of the others."""
    clock = Clock()
    audit = Audit(tmp_path, "w", clock)
    for _ in range(AT_ONCE + 500):
        audit.write("login_refused", user="ann")
    assert len(lines(tmp_path)) == AT_ONCE
    clock.now += 3 * EVERY_SECONDS
    for _ in range(10):
        audit.write("login_refused", user="ann")
    audit.write("cookie_forged")
    assert len(lines(tmp_path)) == AT_ONCE + 3 + 1
    audit.close()
    (left_out,) = [line for line in lines(tmp_path) if "left_out" in line]
    assert (left_out["event"], left_out["left_out"]) == ("login_refused", 507)


async def test_nothing_else_is_left_out(tmp_path: Path) -> None:
    """Logins, logouts and ends are written each, beside a flood too."""
    audit = Audit(tmp_path, "w", Clock())
    for _ in range(3 * AT_ONCE):
        audit.write("cookie_forged")
        audit.write("logout", user="ann")
    assert len([line for line in lines(tmp_path) if line["event"] == "logout"]) == 3 * AT_ONCE


def test_a_day_of_flood_fits(tmp_path: Path) -> None:
    """The files hold more than a day of all that strangers can cause on four workers at once."""
    audit = Audit(tmp_path, "192.0.2.7:8001")
    audit.write("cross_site_refused", user="n" * 100, origin="o" * 100, path="p" * 100, request_id="r" * 32, by="b" * 16)  # fmt: skip
    file = SharedFile(tmp_path / NAME)
    longest = (tmp_path / NAME).stat().st_size + 64
    a_day = 86400 / EVERY_SECONDS + 86400 / 60
    assert 4 * len(OF_STRANGERS) * a_day * longest < (file._backups + 1) * file._max_bytes


def append_many(path: Path, name: str) -> None:
    file = SharedFile(path, max_bytes=2000, backups=500)
    for n in range(300):
        file.append(json.dumps({"by": name, "n": n}).encode() + b"\n")


def test_several_processes(tmp_path: Path) -> None:
    """Several processes that write and rename one file lose no line and mix none."""
    path, names = tmp_path / "logs/x.log", ["a", "b", "c"]
    processes = [
        multiprocessing.get_context("spawn").Process(target=append_many, args=(path, name))
        for name in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    texts = [file.read_text() for file in path.parent.glob("x.log*")]
    found = [json.loads(line) for text in texts for line in text.splitlines()]
    assert sorted((one["by"], one["n"]) for one in found) == [(b, n) for b in names for n in range(300)]  # fmt: skip


def test_bounded(tmp_path: Path) -> None:
    """The oldest file goes when there are enough; only the owner may read them."""
    file = SharedFile(tmp_path / "logs/x.log", max_bytes=100, backups=2)
    for n in range(100):
        file.append(b"%09d\n" % n)
    found = sorted((tmp_path / "logs").glob("x.log*"))
    assert [path.name for path in found] == ["x.log.1", "x.log.2"]
    assert found[0].read_text().endswith("000000099\n")
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}


def test_a_disk_that_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the file cannot be written the worker's log says so, and nothing is raised."""
    audit = Audit(tmp_path, "w")
    (tmp_path / NAME).mkdir(parents=True)
    with caplog.at_level(logging.ERROR, logger="app"):
        audit.write("start")
    assert "the security log cannot be written" in caplog.text


def test_settings_without_secrets() -> None:
    """What is written of the settings at a start has no secret in it."""
    secrets = {
        "SESSION_SECRETS": "first-secret-of-this-test,second-secret-of-this-test",
        "DEMO_PASSWORD": "password-of-this-test",
        "REDIS_URL": "redis://user-of-this-test:redis-of-this-test@127.0.0.1/0",
    }
    shown = read_settings(secrets | {"LOGIN_TRIES": "7", "SESSION_IDLE_SECONDS": "77"}).shown()
    assert "of-this-test" not in json.dumps(shown)
    assert (shown["login_tries"], shown["idle_seconds"], shown["production"]) == (7, 77, False)
