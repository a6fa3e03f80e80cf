"""`make sbom`: what the packages and images are made of, in CycloneDX 1.6, which scanners read.

Two runs of the same parts write the same files. Manual: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.docker import docker
from deploy.paths import ROOT, shown
from deploy.refused import Refused

Part = dict[str, str]
LOCKED = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
# In an image: its system, Debian's packages, and the Python packages of the app image and the load test's.
LIST = """
. /etc/os-release && echo "os $ID $VERSION_ID"
dpkg-query -W -f 'deb ${Package} ${Version} ${Architecture} ${source:Package}\\n'
for file in /opt/venv/lib/python3*/site-packages/*.dist-info/METADATA; do
  [ ! -e "$file" ] || sed -n '/^$/q; s/^Name: /pypi /p; s/^Version: /version /p' "$file"
done
"""


def write_lists(folder: Path) -> int:
    """A file for each lock in deploy/requirements and each image of docker-compose.yml; 1 when an image is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for lock in sorted((ROOT / "deploy/requirements").glob("*.txt")):
        of = {"type": "file", "name": lock.name}
        _write(folder / f"wheels-{lock.stem}.cdx.json", of, locked(lock.read_text()))
    missing = [image for image in _images() if not _write_image(folder, image)]
    if missing:
        print(f"not here: {', '.join(missing)}")
        print(
            "`docker compose --profile loadtest build` and `docker compose pull nginx redis` bring the images"
        )
    return 1 if missing else 0


def locked(text: str) -> list[Part]:
    """The packages of a lock file, those of other systems too."""
    return [_pypi(name, version) for name, version in LOCKED.findall(text)]


def installed(listing: str) -> Iterator[Part]:
    """The parts in what LIST prints."""
    system = name = ""
    for line in listing.splitlines():
        kind, *words = line.split()
        if kind == "os":
            yield {"type": "operating-system", "name": words[0], "version": words[1]}
            system = "-".join(words)
        elif kind == "deb":
            yield _deb(system, *words)
        elif kind == "pypi":
            name = words[0]
        elif kind == "version":
            yield _pypi(name, words[0])


def bom(of: Part, parts: Iterable[Part]) -> dict[str, Any]:
    """The document: `of` is what consists of `parts`."""
    components = sorted(parts, key=lambda part: (part["type"], part["name"], part["version"]))
    content = json.dumps([of, components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "version": 1,
        "metadata": {"component": of},
        "components": components,
    }


def _pypi(name: str, version: str) -> Part:
    # In a package URL a name has no capitals, dots or underscores.
    plain = re.sub(r"[-_.]+", "-", name).lower()
    purl = f"pkg:pypi/{plain}@{quote(version, safe='')}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _deb(system: str, name: str, version: str, architecture: str, source: str) -> Part:
    """Debian names its advisories after the source package: `upstream`, where the name differs."""
    kept = f"?arch={architecture}&distro={system}" + (
        f"&upstream={quote(source, safe='')}" if source != name else ""
    )
    purl = f"pkg:deb/{system.partition('-')[0]}/{quote(name, safe='')}@{quote(version, safe=':')}{kept}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _images() -> list[str]:
    named = docker(
        "compose", "--project-directory", str(ROOT), "--profile", "loadtest", "config", "--images"
    )
    return sorted(set(named.split()))


def _write_image(folder: Path, image: str) -> bool:
    """Whether the image is on this machine; then its list is written."""
    try:
        number = docker("image", "inspect", "--format", "{{.Id}}", image).strip()
    except Refused:
        return False
    alone = ("--rm", "--pull", "never", "--network", "none", "--read-only", "--cap-drop", "ALL")
    listing = docker("run", *alone, "--entrypoint", "sh", image, "-c", LIST)
    name = re.sub(r"[^\w.-]+", "-", image.partition("@")[0])
    of = {"type": "container", "name": image, "version": number}
    _write(folder / f"image-{name}.cdx.json", of, installed(listing))
    return True


def _write(path: Path, of: Part, parts: Iterable[Part]) -> None:
    document = bom(of, parts)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{shown(path)}: {len(document['components'])} parts")
