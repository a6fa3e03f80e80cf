"""Where nginx listens, and networks that it treats differently: proxies before it, and those it does not limit."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from deploy.refused import Refused


def read_networks(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The networks in the setting `name`; Refused names the one that is none, or that is everybody."""
    return tuple(dict.fromkeys(_network(name, word) for word in listed(environ, name)))


def listed(environ: Mapping[str, str], name: str) -> list[str]:
    """The words of a setting, with commas, spaces or both between them."""
    return [word for word in re.split(r"[\s,]+", environ.get(name, "")) if word]


def proxies_conf(networks: Iterable[str]) -> str:
    """The lines for TRUSTED_PROXIES in nginx's http block.

    The visitor's address becomes the last one in X-Forwarded-For that is no trusted proxy's, so what a
    visitor has written before it does not count.
    """
    lines = [f"set_real_ip_from {network};" for network in networks]
    lines += ["real_ip_header X-Forwarded-For;", "real_ip_recursive on;"] if lines else []
    lines += ["geo $realip_remote_addr $from_proxy {", "    default 0;"]
    lines += [*(f"    {network} 1;" for network in networks), "}"]
    return "\n".join(lines)


def read_bind(environ: Mapping[str, str], name: str = "BIND") -> str:
    """The address in BIND, without the brackets of an address in a URL."""
    value = environ.get(name) or "127.0.0.1"
    try:
        return str(ipaddress.ip_address(value.removeprefix("[").removesuffix("]")))
    except ValueError:
        remedy = "write 127.0.0.1 or ::1, or 0.0.0.0 or :: for all"
        raise Refused(f"{name}={value} is not an address: {remedy}") from None


def read_workers_bind(environ: Mapping[str, str]) -> str:
    """The address in WORKERS_BIND: a single one, since upstream.conf says by it which workers are this host's."""
    try:
        address = read_bind(environ, "WORKERS_BIND")
    except Refused:
        address = "0.0.0.0"
    if ipaddress.ip_address(address).is_unspecified:
        remedy = "write the address that upstream.conf has for this host's workers"
        raise Refused(f"WORKERS_BIND={environ['WORKERS_BIND']} is not one address: {remedy}")
    return address


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it, an address or a name."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def reachable(address: str) -> str:
    """Where this machine reaches what listens there: loopback, where that is every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)


def in_url(address: str) -> str:
    """As it stands in a URL, and in nginx's files."""
    return f"[{address}]" if ":" in address else address


def own_networks(bind: str) -> tuple[str, ...]:
    """This machine: loopback, and the address that nginx listens on when that is a single one."""
    address = ipaddress.ip_address(bind)
    single = not (address.is_unspecified or address.is_loopback)
    return ("127.0.0.0/8", "::1/128", *([str(ipaddress.ip_network(address))] if single else []))


def _network(name: str, word: str) -> str:
    try:
        network = ipaddress.ip_network(word)
    except ValueError:
        remedy = "write 192.0.2.7, or 10.0.0.0/8"
        raise Refused(f"{name}: {word} is not a network: {remedy}") from None
    if network.prefixlen == 0:
        raise Refused(f"{name}: {word} matches every address: name specific networks")
    return str(network)
