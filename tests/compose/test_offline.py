"""After deploy/offline/build-images every `docker compose` uses its images, without an option to remember."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.compose.stack import ROOT

# As they are after a build in a folder with such a name; "…" with backslashes is how build-images writes it.
FOLDER = "a $b \"c\" 'd' #e \\f"
NAMES = """\
NGINX_IMAGE=offline/nginx:1
BUILD_CA="/{}/ca"
""".format(FOLDER.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$"))


def config(folder: Path) -> dict[str, Any]:
    """What Compose makes of the project there, with nothing set in the shell."""
    shell = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=folder,
        env=shell,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_later_commands(tmp_path: Path) -> None:
    """Before, Compose means the registry's nginx; after it, and with own lines in .env, the one made here."""
    shutil.copy2(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / ".env").write_text("HTTP_PORT=8090\n")
    assert config(tmp_path)["services"]["nginx"]["image"].startswith("nginx:1.31")

    (tmp_path / "images.env").write_text(NAMES)
    script = ROOT / "deploy/offline/into-env"
    subprocess.run([script, tmp_path / "images.env", tmp_path / ".env"], check=True)
    now = config(tmp_path)
    assert now["services"]["nginx"]["image"] == "offline/nginx:1"
    assert now["services"]["nginx"]["ports"][0]["published"] == "8090"
    assert now["secrets"]["build_ca"]["file"].replace("$$", "$") == f"/{FOLDER}/ca"
