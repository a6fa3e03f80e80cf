"""Proxies in front of nginx that are trusted: a cloud's load balancer, a CDN, the nginx of a whole machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from deploy.refused import Refused


def read_proxies(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The networks in TRUSTED_PROXIES; Refused names the one that is none, or that is everybody."""
    words = re.split(r"[\s,]+", environ.get("TRUSTED_PROXIES", "").strip())
    return tuple(dict.fromkeys(_network(word) for word in words if word))


def proxies_conf(networks: Iterable[str]) -> str:
    """What nginx includes in its http block.

    The visitor's address becomes the last one in X-Forwarded-For that is no trusted proxy's, so what a
    visitor has written before it does not count.
    """
    lines = [f"set_real_ip_from {network};" for network in networks]
    lines += ["real_ip_header X-Forwarded-For;", "real_ip_recursive on;"] if lines else []
    lines += ["geo $realip_remote_addr $from_proxy {", "    default 0;"]
    lines += [*(f"    {network} 1;" for network in networks), "}"]
    return "\n".join(lines)


def _network(word: str) -> str:
    try:
        network = ipaddress.ip_network(word)
    except ValueError:
        remedy = "write 192.0.2.7, or 10.0.0.0/8"
        raise Refused(f"TRUSTED_PROXIES: {word} is not a network: {remedy}") from None
    if network.prefixlen == 0:
        raise Refused(f"TRUSTED_PROXIES: {word} is everybody: name the proxy's own network")
    return str(network)
