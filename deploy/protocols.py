"""The protocols of https: production leaves out those in which the nginx that runs has known holes."""

from __future__ import annotations

from fnmatch import fnmatchcase

# The nginx without the holes of docs/security.md in HTTP/2 and TLS 1.3, as patterns that a shell takes too:
# in Docker nginx/start compares the version of its own container with them.
MENDED = (
    *("1.30.[7-9]", "1.30.[1-9][0-9]*", "1.31.9", "1.31.[1-9][0-9]*"),
    *("1.3[2-9].*", "1.[4-9][0-9].*", "1.[1-9][0-9][0-9]*.*", "[2-9].*", "[1-9][0-9]*.*"),
)


def is_mended(version: str) -> bool:
    """Whether the nginx that calls itself `version` has none of the holes; an unknown one has them."""
    return any(fnmatchcase(version, pattern) for pattern in MENDED)


def protocols_conf(*, http2: bool | None, tls13: bool | None, mended: bool) -> str:
    """The lines for nginx, beside TLS 1.2 of snippets/tls.conf. None means: where it is safe."""
    http2, tls13 = (mended if asked is None else asked for asked in (http2, tls13))
    return f"http2 {'on' if http2 else 'off'};\n" + ("ssl_protocols TLSv1.3;\n" if tls13 else "")
