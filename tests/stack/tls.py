"""How the tests speak TLS with a stack: as a browser that trusts its certificate, or in one version alone."""

from __future__ import annotations

import socket
import ssl

from deploy.native.site import NativeSite


def trusting(stack: NativeSite) -> ssl.SSLContext:
    """Checks certificates as a browser does, and trusts the stack's own."""
    return ssl.create_default_context(cafile=str(stack.state / "https/certificate.pem"))


def handshake(
    stack: NativeSite, version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0"
) -> str | None:
    """The protocol agreed on with a client that speaks `version` alone; None when there is none.

    Any cipher suits the client, or `ciphers` do: it must not be the one that refuses.
    """
    context = trusting(stack)
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    try:
        with (
            socket.create_connection(("127.0.0.1", stack.https_port), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as tls,
        ):
            return tls.version()
    except (ssl.SSLError, ConnectionError):
        return None
