"""`with-stack -- COMMAND`: run COMMAND against the running stack of this checkout, or one started for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from deploy.ask import NoAnswer, ask
from deploy.native.child import run_child
from deploy.native.options import read_environ, read_options
from deploy.native.scratch import scratch_stack
from deploy.native.site import NativeSite
from deploy.native.versions import versions
from deploy.operations.find import find_stack
from deploy.operations.native import NativeStack, find_native
from deploy.operations.stack import Stack, served_upstream
from deploy.output import never_silent
from deploy.refused import Refused
from deploy.upstream.expect import facts_of
from deploy.upstream.read import read_upstream

# What the command logs in with; so a stack that is started for it must know it too.
LOGIN = ("DEMO_PASSWORD", "DEMO_PASSWORD_FILE")
# Of a stack that is started for a load test: both timeouts pass within a run, and are tried.
SHORT_LIFETIMES = {"SESSION_IDLE_SECONDS": "10", "SESSION_ABSOLUTE_SECONDS": "15"}
EXPECTED = ("WORKERS", "WEIGHTS", "POLICY")


def run_with_stack(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """COMMAND's exit code.  It finds HOST, WORKERS, WEIGHTS, POLICY, PARTS, VERSIONS in its environment.

    A HOST that was given must answer.  Without one it is the stack that `make status` speaks of, and
    where none runs, one that is started for COMMAND; for a load test its sessions live shortly, unless
    their lifetimes or renewals are set.
    """
    environ = read_environ(environ)
    stack: Stack | None
    if given := environ.get("HOST", "").rstrip("/"):
        stack = find_native(read_options(environ))
        if stack is None or stack.site_url != given:
            return run_child(command, {**environ} | _facts_of_given(given, environ))
    else:
        stack = find_stack(environ)
    if stack is not None and stack.role == "workers":
        raise Refused("no nginx runs on this host: give HOST, the address of an edge host")
    if stack is not None:
        print(f"using {stack.name}", flush=True)
        return run_child(command, {**environ} | facts(stack))
    environ = {**environ, **_lifetimes(command, environ)}
    with started_stack(environ) as site:
        found = find_native(read_options({**environ, **site.settings}))
        assert found is not None
        return run_child(command, {**environ} | facts(found))


def _lifetimes(command: Sequence[str], environ: Mapping[str, str]) -> Mapping[str, str]:
    set_already = any(environ.get(name) for name in (*SHORT_LIFETIMES, "SESSION_RENEW_SECONDS"))
    return {} if set_already or "loadtest" not in command else SHORT_LIFETIMES


@contextmanager
def started_stack(environ: Mapping[str, str]) -> Iterator[NativeSite]:
    """A stack like that of `make run`, on free ports, while the block runs."""
    print("no stack of this folder is running: starting one for this", flush=True)
    login = {name: environ[name] for name in LOGIN if environ.get(name)}
    with ExitStack() as stack:
        with never_silent():
            upstream_conf = read_options(environ).upstream_conf
            site = stack.enter_context(scratch_stack(upstream_conf, environ, **login))
        yield site


@contextmanager
def native_site(environ: Mapping[str, str]) -> Iterator[NativeSite]:
    """The running native stack of this checkout, or one that runs while the block does."""
    options = read_options(environ)
    if (found := find_native(options)) is not None:
        print(f"using {found.name}", flush=True)
        yield found.site()
        return
    with started_stack(environ) as site:
        yield site


def facts(stack: Stack) -> dict[str, str]:
    """What a load test must know of a running stack, as environment variables.

    `PARTS` and `VERSIONS` are empty where its processes cannot be watched from here.
    """
    native = stack if isinstance(stack, NativeStack) else None
    parts = native.supervisord.pids() if native else {}
    return {
        "HOST": stack.site_url,
        "PARTS": ",".join(f"{name}={pid}" for name, pid in parts.items()),
        "VERSIONS": versions(native.options) if native else "",
        **_expected(stack),
    }


def answers(url: str) -> bool:
    """Whether a web server is there, whatever it says."""
    try:
        ask(url, "/login")
    except NoAnswer:
        return False
    return True


def _facts_of_given(host: str, environ: Mapping[str, str]) -> dict[str, str]:
    if not answers(host):
        raise Refused(f"no stack answers at HOST={host}; omit HOST, and one is started")
    print(f"using the stack at {host}", flush=True)
    given = {name: environ[name] for name in EXPECTED if environ.get(name)}
    facts = facts_of(read_upstream(read_options(environ).upstream_conf))
    return {"PARTS": "", "VERSIONS": "", **facts, **given}


def _expected(stack: Stack) -> dict[str, str]:
    """Of the upstream that is being served: the file may have been edited since."""
    places = stack.places()
    served = served_upstream(stack, places) or read_upstream(stack.upstream_conf, stack.own)
    return facts_of(served, places=len(places))
