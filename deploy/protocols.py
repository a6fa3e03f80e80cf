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
    """The lines for nginx. None means: where it is safe."""
    versions = "TLSv1.2 TLSv1.3" if (mended if tls13 is None else tls13) else "TLSv1.2"
    return (
        f"http2 {'on' if (mended if http2 is None else http2) else 'off'};\n"
        f"ssl_protocols {versions};\n"
    )
