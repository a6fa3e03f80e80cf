"""Where visitors on this machine find the native stack: an address that answers, also with a given certificate."""

from __future__ import annotations

from deploy.https import name_for
from deploy.native.options import Options


def site_url(options: Options) -> str:
    """The site; over http unless HTTPS_ONLY sends visitors away from there."""
    if options.https.only:
        return https_url(options)
    return f"http://{options.url_host}:{options.http_port}"


def place_of(options: Options) -> str:
    """Where the stack of these options is: its site, or its workers where this host has no nginx."""
    return site_url(options) if options.has_nginx else f"{options.workers_bind} (workers alone)"


def https_url(options: Options) -> str:
    """The site over https, under a name that its certificate is for: nginx answers to no other."""
    return f"https://{name_for(options.url_host, options.tls)}:{options.https.port}"
