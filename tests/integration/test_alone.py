"""The engine's folder can be carried away."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import hiredis
import ujson

from lab.testbed.servers import Place
from lab.testbed.workers import ROOT

PROGRAM = """
import asyncio, sys
sys.path[:0] = [{here!r}, {packages!r}]
from sessions import Pipeline, RedisSessions

async def main():
    pipeline = Pipeline({url!r}, timeout_seconds=5)
    store = RedisSessions(pipeline)
    session_id = await store.create("ann", {{"n": 1}})
    session = await store.load(session_id)
    session["n"] += 1
    assert await store.save(session)
    assert await store.increment(session, "n", operation="x") == 3
    assert await store.destroy(session)
    assert await store.load(session_id) is None
    await pipeline.close()

asyncio.run(main())
ours = {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names)
print(*sorted(name for name in ours if not name.startswith("__")))
"""


def test_alone(tmp_path: Path, place: Place) -> None:
    """Copied into an empty folder, with hiredis and ujson alone, the engine works on one or many nodes."""
    shutil.copytree(
        ROOT / "app/sessions", tmp_path / "sessions", ignore=shutil.ignore_patterns("__pycache__")
    )
    packages = tmp_path / "packages"
    packages.mkdir()
    folder = Path(hiredis.__file__ or "").parent
    (packages / folder.name).symlink_to(folder)
    (packages / Path(ujson.__file__).name).symlink_to(ujson.__file__)
    program = PROGRAM.format(here=str(tmp_path), packages=str(packages), url=place.url)
    # -I: no PYTHONPATH, no current folder; -S: no site-packages, so nothing else can be imported.
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["hiredis", "sessions", "ujson"]
