"""`make status`: workers, nginx and Redis in one table, and whether all is well."""

from __future__ import annotations

import json
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

from deploy.counted import counted
from deploy.openssl import openssl_facts, openssl_line, openssl_warnings
from deploy.operations.elsewhere import Answers
from deploy.operations.find import running_stack
from deploy.operations.judgement import problems
from deploy.operations.stack import Place, Stack, served_upstream
from deploy.operations.visit import visit
from deploy.refused import Refused
from deploy.upstream.difference import algorithm
from deploy.upstream.read import Upstream, text_of

HEADINGS = ("worker", "state", "up", "restarts", "in flight", "requests/min", "share", "errors/min")

ELSEWHERE = ", elsewhere"
UNTOLD = "answers; REDIS_URL's user may not ask for figures"


def show_status(environ: Mapping[str, str], *, as_json: bool) -> int:
    """Print it; 0 when healthy, 1 when not."""
    with refusals():
        facts = collect(running_stack(environ, "status"))
    print(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts)))
    return 0 if facts["healthy"] else 1


@contextmanager
def refusals() -> Iterator[None]:
    """What keeps this command from looking at a stack, in sentences."""
    try:
        yield
    except PermissionError as error:
        text = "run this as the user who started the stack, or give another STACK_DIR"
        raise Refused(f"{error.filename} is another user's: {text}") from None
    except (OSError, xmlrpc.client.Error) as error:
        raise Refused(f"the stack is only just starting or stopping: {error}") from None


def collect(stack: Stack, *, lightly: bool = False) -> dict[str, Any]:
    """Everything that is shown, and `problems`: what is not as it should be, in sentences.

    `lightly` is for who asks every other second: no visitor logs in, and no session is counted.
    """
    places = stack.places()
    upstream = served_upstream(stack, places)
    workers = _workers(places, upstream)
    servers = elsewhere(upstream, stack.answers, stack.figures) if upstream else []
    _share(workers + servers)
    facts: dict[str, Any] = {
        "stack": stack.name,
        "role": stack.role,
        "url": stack.url,
        "algorithm": algorithm(upstream) if upstream else None,
        "workers": workers,
        "servers": servers,
        "nginx": _nginx(stack),
        "redis": stack.store(count=not lightly),
        "openssl": openssl_facts(stack.openssl()),
        "visitor": {} if lightly else visit(stack),
        "edited": upstream is not None
        and any(place.applied() != text_of(stack.upstream_conf) for place in places),
    }
    found = problems(facts, upstream)
    warnings = list(openssl_warnings(facts["openssl"], date.today()))
    return {"healthy": not found, "problems": found, "warnings": warnings, **facts}


def _workers(places: Sequence[Place], upstream: Upstream | None) -> list[dict[str, Any]]:
    servers = {server.port: server for server in upstream.workers} if upstream else {}
    found = []
    for place in places:
        for figures in place.figures():
            server = servers.get(figures["port"])
            name = {"worker": f"{place.host}:{figures['port']}"}
            found.append({**name, "in_rotation": bool(server and server.is_served), **figures})
    return found


def elsewhere(
    upstream: Upstream, answers: Answers, figures: Callable[[str, int], dict[str, Any]]
) -> list[dict[str, Any]]:
    """What this stack does not start: whether it is in rotation and answers, and figures where it is such a worker."""
    found = []
    for server in upstream.servers:
        if server.is_worker:
            continue
        host, port = server.host, server.port
        is_there = answers(host, port)
        about = figures(host, port) if is_there else {}
        one = {"server": f"{host}:{port}", "in_rotation": server.is_served, "answers": is_there}
        found.append(one | (about if "in_flight" in about else {}))
    return found


def _share(workers: Sequence[dict[str, Any]]) -> None:
    """Note each one's share of the requests that all of them answered."""
    known = [worker for worker in workers if "requests_last_minute" in worker]
    total = sum(worker["requests_last_minute"] for worker in known)
    for worker in workers:
        share = worker.get("requests_last_minute", 0) / total if total else None
        worker["share"] = None if share is None else round(share, 4)


def _nginx(stack: Stack) -> dict[str, Any]:
    """Without one on this host, everything is 0."""
    processes = stack.nginx_processes()
    now = [process for process in processes if not process.shutting_down]
    old = sorted(process.age_seconds for process in processes if process.shutting_down)
    # Processes of one generation are born within the same moment.
    generations = sum(1 for n, age in enumerate(old) if n == 0 or age - old[n - 1] > 0.5)
    return {
        "processes": len(now),
        "generation_age_seconds": round(max((p.age_seconds for p in now), default=0)),
        "old_generations": generations,
        "old_processes": len(old),
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    rows = [HEADINGS, *map(_row, everybody(facts))]
    lines = [facts["stack"], "", *table(rows), *_elsewhere(facts), "", _nginx_line(facts)]
    lines += [
        f"redis     {store_text(facts['redis'], _sessions, UNTOLD)}",
        f"openssl   {openssl_line(facts['openssl'])}",
    ]
    lines += [f"upstream  {facts['algorithm'] or 'unknown'}"]
    if facts["edited"]:
        lines[-1] += "; the file has been edited since: `make reload` applies it"
    warnings = [f"warning: {warning}" for warning in facts["warnings"]]
    return [*lines, "", *warnings, *(facts["problems"] or ["healthy"])]


def _nginx_line(facts: dict[str, Any]) -> str:
    if facts["role"] == "workers":
        return "nginx     on other hosts"
    nginx = facts["nginx"]
    old = nginx["old_generations"]
    generation = f"nginx     {nginx['processes']} processes, loaded {ago(nginx['generation_age_seconds'])} ago"
    if old:
        generation += f"; {old} older {'generation drains' if old == 1 else 'generations drain'}"
    return generation


def _elsewhere(facts: dict[str, Any]) -> list[str]:
    """A line for each server that is started elsewhere and of which no more is known."""
    lines = []
    for server in facts["servers"]:
        if "in_flight" in server:
            continue
        state = "answers" if server["answers"] else "does not answer"
        state += "" if server["in_rotation"] else ", out of rotation"
        lines.append(f"{server['server']}  {state}, started elsewhere")
    return ["", *lines] if lines else []


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows, headings among them, in columns: two of words, then figures."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(left + right))
    return lines


def state_of(worker: Mapping[str, Any]) -> str:
    """One of a few words."""
    if worker["ready"]:
        return "ready" if worker["in_rotation"] else "out of rotation"
    return "not ready" if worker["state"] == "running" else str(worker["state"])


def everybody(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The workers of this host, and those of others that say how they are; these have no `restarts`."""
    others = [one for one in facts.get("servers", ()) if "in_flight" in one]
    return [*facts["workers"], *({"worker": one["server"], **one} for one in others)]


def started(worker: Mapping[str, Any]) -> tuple[str, str, str]:
    """Its state, how long it has been up, and its restarts; of another host's only that host knows all."""
    if "restarts" in worker:
        return state_of(worker), ago(worker["uptime_seconds"]), str(worker["restarts"])
    return state_of({**worker, "state": "running"}) + ELSEWHERE, "-", "-"


def _row(worker: dict[str, Any]) -> tuple[str, ...]:
    share = "-" if worker["share"] is None else f"{worker['share']:.1%}"
    counts = [str(worker.get(key, "-")) for key in ("in_flight", "requests_last_minute")]
    errors = str(worker.get("errors_last_minute", "-"))
    return (worker["worker"], *started(worker), *counts, share, errors)


def store_text(
    redis: Mapping[str, Any], counts: Callable[[Mapping[str, Any]], str], untold: str = "answers"
) -> str:
    """Redis in one line, and what stands by for it in more; `counts` says how much is in it.

    `untold` is said where the user that asks may not see figures.
    """
    if not redis:
        return "asked by the hosts of the workers"
    if "error" in redis:
        return "does not answer"
    if not tells_figures(redis):
        return f"{untold}{failover_text(redis)}"
    limit = redis["memory_limit_bytes"]
    of = f" of {limit / 2**20:.0f}" if limit else ""
    memory = f"{redis['memory_bytes'] / 2**20:.1f}{of} MiB"
    return f"{redis['version']}, {memory}, {counts(redis)}{failover_text(redis)}"


def _sessions(redis: Mapping[str, Any]) -> str:
    about = "" if redis["exact"] else "about "
    return f"{about}{counted(redis['sessions'], 'session')} of {counted(redis['users'], 'user')}"


def tells_figures(redis: Mapping[str, Any]) -> bool:
    """Whether the user that asks may see more than that Redis answers."""
    return any(server.get("role", "") is not None for server in redis["servers"])


def failover_text(redis: Mapping[str, Any]) -> str:
    """Roles, replicas with their lag, Sentinels and slots, where there are any; each on a line of its own."""
    lines = []
    for server in redis.get("servers", []):
        for replica in server.get("replicas", []):
            lag = f"{replica['lag_seconds']} s and {replica['behind_bytes']} bytes behind"
            lines.append(
                f"replica {replica['server']} of {server['server']}, {replica['state']}, {lag}"
            )
    known = [one for one in redis.get("sentinels", []) if "error" not in one]
    if known:
        total, quorum = len(redis["sentinels"]), known[0]["quorum"]
        lines.append(f"{len(known)} of {total} Sentinels answer, quorum {quorum}")
    if redis.get("slots_uncovered"):
        lines.append(f"{redis['slots_uncovered']} slots without a primary")
    return "".join(f"\n          {line}" for line in lines)


def ago(seconds: float) -> str:
    """Hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
