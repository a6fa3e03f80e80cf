"""deploy/offline/into-env: image names get into .env, and nothing of what the user wrote there changes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.native.env_file import read_env_file
from deploy.paths import ROOT

NAMES = "# a comment\nNGINX_IMAGE=offline/nginx:1\nREDIS_IMAGE=offline/redis:8\n"
NGINX = {"NGINX_IMAGE": "offline/nginx:1"}
BOTH = NGINX | {"REDIS_IMAGE": "offline/redis:8"}
# What .env held before, and what it means afterwards.
BEFORE = {
    "": BOTH,
    "HTTP_PORT=8090\n": {"HTTP_PORT": "8090"} | BOTH,
    "HTTP_PORT=8090": {"HTTP_PORT": "8090"} | BOTH,
    "# REDIS_IMAGE=x\r\nDEMO_PASSWORD='pa$word' # é\r\n": {"DEMO_PASSWORD": "pa$word"} | BOTH,
    "\ufeffBIND=::1\n": {"BIND": "::1"} | BOTH,
    "export REDIS_IMAGE=own/redis\n": {"REDIS_IMAGE": "own/redis"} | NGINX,
    "  REDIS_IMAGE=\n": {"REDIS_IMAGE": ""} | NGINX,
}


def into_env(folder: Path, names: str = NAMES) -> Path:
    """Run it, and return the file."""
    (folder / "images.env").write_text(names)
    env = folder / ".env"
    subprocess.run(
        [ROOT / "deploy/offline/into-env", folder / "images.env", env],
        check=True,
    )
    return env


@pytest.mark.parametrize("before", BEFORE)
def test_what_stood_there_stays(before: str, tmp_path: Path) -> None:
    """Own lines stay byte by byte and win over the block, with any line ends, encoding marks and quotes."""
    (tmp_path / ".env").write_bytes(before.encode())
    env = into_env(tmp_path)

    assert env.read_bytes().startswith(before.encode())
    assert read_env_file(env) == BEFORE[before]


def test_again(tmp_path: Path) -> None:
    """Run again, the block is written anew in its place at the end: what follows it stays, an old name goes."""
    first = into_env(tmp_path)
    before = first.read_text()
    assert into_env(tmp_path).read_text() == before

    first.write_text(f"{before}HTTP_PORT=8090\n")
    env = into_env(tmp_path, NAMES.replace("REDIS", "PYTHON"))
    assert read_env_file(env) == {"HTTP_PORT": "8090", "PYTHON_IMAGE": "offline/redis:8"} | NGINX


def test_mode_and_link(tmp_path: Path) -> None:
    """A file that only its owner can read stays so, and a link stays one; without a file one is made."""
    own = tmp_path / "own.env"
    own.write_text("SESSION_SECRETS=secret\n")
    own.chmod(0o600)
    (tmp_path / ".env").symlink_to(own)
    assert into_env(tmp_path).is_symlink()
    assert own.stat().st_mode & 0o777 == 0o600
    assert read_env_file(own) == {"SESSION_SECRETS": "secret"} | BOTH

    (tmp_path / "new").mkdir()
    assert read_env_file(into_env(tmp_path / "new")) == BOTH
