"""The images that docker-compose.yml, the Dockerfiles and the manifests name, each pinned by digest: what nobody can replace."""

from __future__ import annotations

import re
from pathlib import Path

from deploy.docker import docker
from deploy.refused import Refused

FILES = (
    *("docker-compose.yml", "deploy/Dockerfile", "loadtest/Dockerfile"),
    *("deploy/kubernetes/base/nginx.yaml", "deploy/kubernetes/demo/redis.yaml"),
)
DEFAULT = re.compile(
    r"(_IMAGE(?::-|=)|\bimage: )([a-z][a-z0-9./-]*:[\w.-]+)(?:@sha256:[0-9a-f]{64})?"
)


def pin_images(root: Path) -> None:
    """Pull each image by its tag, and write its digest behind the tag; where one cannot be pulled nothing is written.

    The digest is that of the index, which is the same for each kind of processor.
    """
    texts = {root / name: (root / name).read_text(encoding="utf-8") for name in FILES}
    images = sorted({image for text in texts.values() for _, image in DEFAULT.findall(text)})
    digests = {image: _digest(image) for image in images}
    for path, text in texts.items():
        pinned = DEFAULT.sub(lambda match: f"{match[1]}{match[2]}@{digests[match[2]]}", text)
        path.write_text(pinned, encoding="utf-8")
    for image, digest in digests.items():
        print(f"{image}@{digest}")


def _digest(image: str) -> str:
    docker("pull", "--quiet", image)
    name = image.partition(":")[0]
    shown = docker(
        "image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}", image
    )
    digests = dict(line.split("@") for line in shown.split())
    if name not in digests:
        raise Refused(f"{image} has no digest here: the images stay as they are")
    return digests[name]
