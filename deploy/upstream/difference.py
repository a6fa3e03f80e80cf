"""What has changed between two upstream files, in plain words."""

from __future__ import annotations

from deploy.upstream.read import Server, Upstream

DEFAULTS = {"weight": "1", "max_fails": "1", "fail_timeout": "10s", "max_conns": "0"}
ASIDE = {"down": "out of rotation", "drain": "out of rotation", "backup": "only as a backup"}
NOT_EVEN = "sessions stay shared; the even-spread proof does not apply"


def difference(old: Upstream, new: Upstream) -> list[str]:
    """One sentence a change, as in `+ 8005` and `8003 weight 1 → 3`; empty when nothing changed."""
    before, after = _by_address(old), _by_address(new)
    said = [f"+ {label(server)}" for at, server in after.items() if at not in before]
    said += [f"− {label(server)}" for at, server in before.items() if at not in after]
    for at, server in after.items():
        if at in before:
            said += _server_changes(before[at], server)
    return said + _directive_changes(old, new)


def label(server: Server) -> str:
    """A worker is called by its port, what is started elsewhere by its address."""
    return str(server.port) if server.is_worker else f"{server.host}:{server.port}"


def algorithm(upstream: Upstream) -> str:
    """The policy as it is written, without its underscore when that is all there is to it."""
    words = (upstream.policy, *upstream.directives.get(upstream.policy, ()))
    return "round robin" if upstream.policy == "round_robin" else " ".join(words)


def _by_address(upstream: Upstream) -> dict[tuple[str, int], Server]:
    return {(server.host, server.port): server for server in upstream.servers}


def _server_changes(old: Server, new: Server) -> list[str]:
    name, before, after = label(new), _values(old), _values(new)
    said = []
    for key in sorted(before.keys() | after.keys()):
        one, other = before.get(key, DEFAULTS.get(key)), after.get(key, DEFAULTS.get(key))
        if one != other:
            said.append(f"{name} {key} {one or 'none'} → {other or 'none'}")
    for flag in sorted(set(old.parameters) ^ set(new.parameters)):
        if "=" not in flag:
            said.append(f"{name} {_flag_change(flag, flag in new.parameters)}")
    return said


def _flag_change(flag: str, is_set: bool) -> str:
    if flag not in ASIDE:
        return f"now with {flag}" if is_set else f"no longer with {flag}"
    return f"{ASIDE[flag]} ({flag})" if is_set else f"back in rotation (no longer {flag})"


def _values(server: Server) -> dict[str, str]:
    return dict(word.split("=", 1) for word in server.parameters if "=" in word)


def _directive_changes(old: Upstream, new: Upstream) -> list[str]:
    said = []
    if algorithm(old) != algorithm(new):
        proof = "" if new.policy == "round_robin" else f" ({NOT_EVEN})"
        said.append(f"algorithm: {algorithm(old)} → {algorithm(new)}{proof}")
    ours = {"server", old.policy, new.policy}
    for name in sorted((old.directives.keys() | new.directives.keys()) - ours):
        one, other = (" ".join(u.directives.get(name, ("none",))) for u in (old, new))
        if one != other:
            said.append(f"{name} {one} → {other}")
    return said
