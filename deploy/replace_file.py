"""The one way a file is replaced: whoever reads it meets the old content or the new one, whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Write `content` to disk beside `path`, then give it that name; a link stays a link.

    Without `mode` the file keeps its own, and a new one gets 0644. It is never readable to more than that.
    """
    path = path.resolve()
    if mode is None:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    with os.fdopen(handle, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(draft, mode)
    os.replace(draft, path)
