"""`make dev`: what is edited shows at once and on all workers, and no request fails meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.native.scratch import end_run, scratch_settings, start_run, wait_for_start
from deploy.paths import ROOT
from tests.conftest import UPSTREAM
from tests.copies import copy_to
from tests.stack.visitor import new_visitor

pytestmark = pytest.mark.native

SHOWS_SECONDS = 2.0
START_SECONDS = 0.5  # what a worker's imports take at most where nothing else runs
ALL_WORKERS = 16  # pages in a row, which reach each of four workers four times


@dataclass
class Project:
    """A copy of this project under `make dev`."""

    root: Path
    url: str
    printed: list[str] = field(default_factory=list)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    root = copy_to(tmp_path_factory.mktemp("dev") / "project")
    settings = scratch_settings(tmp_path_factory.mktemp("stack"), UPSTREAM)
    process = start_run({**os.environ, **settings, "DEV": "1"}, root)
    try:
        wait_for_start(process)
        project = Project(root, f"http://127.0.0.1:{settings['HTTP_PORT']}")
        threading.Thread(target=_keep, args=(process, project.printed), daemon=True).start()
        yield project
    finally:
        process.terminate()
        process.wait(40)
        end_run(process)


def _keep(process: subprocess.Popen[str], printed: list[str]) -> None:
    assert process.stdout
    printed.extend(process.stdout)


@contextmanager
def requests_meanwhile(project: Project) -> Iterator[None]:
    """Reads pages and posts visits while the block runs; each must be answered, each visit counted once."""
    failed: list[str] = []
    over = threading.Event()

    def ask() -> None:
        with new_visitor(project.url) as visitor:
            visitor.log_in()
            for count in range(1, 1_000_000):
                if over.is_set():
                    break
                page = visitor.get("/")
                if page.status_code != 200:
                    failed.append(f"GET {page.status_code}")
                time.sleep(0.02)
                if (visits := visitor.visit()["visits"]) != count:
                    failed.append(f"visit {visits}, expected {count}")

    visitors = [threading.Thread(target=_noting, args=(ask, failed)) for _ in range(3)]
    for visitor in visitors:
        visitor.start()
    try:
        yield
    finally:
        over.set()
        for visitor in visitors:
            visitor.join()
    assert failed == []


def _noting(work: object, failed: list[str]) -> None:
    assert callable(work)
    try:
        work()
    except Exception as error:
        failed.append(repr(error))


def allowed_seconds() -> float:
    """Two seconds; longer on a machine that is slower, or busier, at this moment."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import app.__main__"], check=True, cwd=ROOT)
    return SHOWS_SECONDS * max(1.0, (time.monotonic() - began) / START_SECONDS)


def shows(project: Project, text: str, path: str = "/login") -> None:
    """Return when ALL_WORKERS pages in a row hold `text`; that must begin in time."""
    began, row = time.monotonic(), 0
    with new_visitor(project.url) as visitor:
        while row < ALL_WORKERS:
            row = row + 1 if text in visitor.get(path).text else 0
            if row == 0:
                waited = time.monotonic() - began
                late = waited > SHOWS_SECONDS and waited > allowed_seconds()
                assert not late, f"not on every worker after {waited:.1f} s"


def test_template(project: Project) -> None:
    """An edited template shows on all workers within two seconds, and no request fails."""
    with requests_meanwhile(project):
        project.edit("app/templates/login.html", "<h1>Log in</h1>", "<h1>Come in</h1>")
        shows(project, "<h1>Come in</h1>")


@pytest.mark.long
def test_handler_and_its_template(project: Project) -> None:
    """A template that needs what an edited handler gives it never meets the handler of before."""
    with requests_meanwhile(project):
        project.edit(
            "app/templates/main.html", "What's up, {{ user }}?</h1>", "{{ greeting }}</h1>"
        )
        project.edit(
            "app/handlers/main.py", "            user=", '            greeting="Hi", user='
        )
        time.sleep(allowed_seconds())
        with new_visitor(project.url) as visitor:
            visitor.log_in()
            assert all("<h1>Hi</h1>" in visitor.get("/").text for _ in range(ALL_WORKERS))


def test_static_file(project: Project) -> None:
    """Pages link an edited static file under a new address, so that no browser keeps the old one."""
    with new_visitor(project.url) as visitor:
        before = visitor.get("/login").text
        project.edit("app/static/style.css", "body", "/* edited */ body")
        new = f"/static/style.css?v={_hash_of(project.root / 'app/static/style.css')}"
        assert new not in before
        shows(project, new)
        assert "/* edited */" in visitor.get(new).text


def test_mistake(project: Project) -> None:
    """Code that cannot start is reported with file and line, while the pages of before go on; mended, it shows."""
    with requests_meanwhile(project):
        project.edit("app/handlers/login.py", "WRONG = ", "WRONG = = ")
        _wait_for(lambda: any("cannot start with it" in line for line in project.printed))
        assert any("app/handlers/login.py" in line for line in project.printed)
        shows(project, "Log in")
        project.edit("app/handlers/login.py", "WRONG = = ", "WRONG = ")
        project.edit("app/templates/login.html", "Any worker can", "Each worker can")
        shows(project, "Each worker can")


def _hash_of(path: Path) -> str:
    from hashlib import sha512

    return sha512(path.read_bytes()).hexdigest()


def _wait_for(fact: object) -> None:
    assert callable(fact)
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.05)
