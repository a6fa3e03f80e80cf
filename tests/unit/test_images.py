"""The images that Docker starts from are pinned by digest, and `make lock` renews the digests."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.supply.images import DEFAULT, FILES, pin_images

DOCKER = """#!/bin/sh
case "$1 $2" in
"pull --quiet") [ "$3" != "$AWAY" ] || { echo "no route to host" >&2; exit 1; } ;;
*) for image; do :; done; echo "mirror/x@sha256:0"; printf '%s@sha256:%064d\\n' "${image%%:*}" "${#image}" ;;
esac
"""


def images(folder: Path) -> set[str]:
    """Each image by name, tag and digest, as the files name it."""
    found = ((folder / name).read_text() for name in FILES)
    return {match[0].removeprefix(match[1]) for text in found for match in DEFAULT.finditer(text)}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files, beside a Docker that knows a digest for every image."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")
    return tmp_path


def test_each_has_one_digest() -> None:
    """Each image has a digest, and the same one wherever it is named."""
    found = images(ROOT)

    assert {image.partition(":")[0] for image in found} == {
        *("nginx", "python", "redis", "prom/prometheus", "prom/alertmanager", "grafana/grafana")
    }
    assert len(found) == 6
    assert all(
        re.fullmatch(r"\S+:v?[\d.]+(-[\w-]+)?@sha256:[0-9a-f]{64}", image) for image in found
    )


def test_pinned_anew(copy: Path) -> None:
    """Tags stay, digests become those of today, and a tag that had none gets one; nothing else changes."""
    for name in FILES:
        text = (copy / name).read_text()
        (copy / name).write_text(re.sub(r"redis:8[^}\s]+", "redis:9.9", text))
    pin_images(copy)

    tags = {image.partition("@")[0] for image in images(ROOT) if "redis" not in image}
    assert images(copy) == {f"{tag}@sha256:{len(tag):064d}" for tag in {*tags, "redis:9.9"}}
    for name in FILES:
        old, new = (DEFAULT.sub("", (folder / name).read_text()) for folder in (ROOT, copy))
        assert new == old


def test_without_a_registry(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an image cannot be pulled, or there is no Docker, that is said and every file stays as it is."""
    redis = next(image for image in images(copy) if image.startswith("redis"))
    monkeypatch.setenv("AWAY", redis.partition("@")[0])
    with pytest.raises(Refused, match="no route to host"):
        pin_images(copy)
    (copy / "bin/docker").unlink()
    monkeypatch.setenv("PATH", str(copy / "bin"))
    with pytest.raises(Refused, match="not installed"):
        pin_images(copy)

    assert all((copy / name).read_text() == (ROOT / name).read_text() for name in FILES)
