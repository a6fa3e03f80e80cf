"""What a visitor gets now: a session is begun, and used through nginx as a browser would."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from deploy.ask import NoAnswer, ask
from deploy.operations.stack import Stack
from deploy.paths import ROOT

COMMAND = ("-m", "app.visitor")
BEGIN_SECONDS = 20.0
MOST_SHOWN = 2000  # characters of an error


def visit(stack: Stack) -> dict[str, str | None]:
    """`login`, `page`, `write` and `logout`: None where it went well, else what came instead.

    Where the first fails there is nothing to go on with.  A host without nginx has no visitors, and one without
    workers cannot begin a session: there it is the login page.
    """
    if stack.role == "workers":
        return {}
    if stack.role == "edge":
        return {"page": _problem(stack, "", "GET", "/login", 200)}
    cookies = stack.begin_session()
    if "error" in cookies:
        return {"login": cookies["error"]}
    cookie = cookies[urlsplit(stack.site_url).scheme]
    body = json.dumps({"op": secrets.token_hex(8)})
    return {
        "login": None,
        "page": _problem(stack, cookie, "GET", "/api/session", 200),
        "write": _problem(stack, cookie, "POST", "/api/visits", 200, body),
        "logout": _problem(stack, cookie, "POST", "/logout", 302),
    }


def begin_session(environ: Mapping[str, str]) -> dict[str, str]:
    """What `python -m app.visitor` prints in the workers' environment."""
    try:
        result = subprocess.run(
            [sys.executable, *COMMAND],
            cwd=ROOT,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=BEGIN_SECONDS,
            check=False,
        )
        cookies: dict[str, str] = json.loads(result.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"no session within {BEGIN_SECONDS:g} s"}
    except ValueError:
        return {"error": (result.stderr.strip().splitlines() or ["no answer"])[-1]}
    return cookies


def _problem(
    stack: Stack, cookie: str, method: str, path: str, good: int, body: str = ""
) -> str | None:
    """Why the answer is not `good`; asked of this machine, whatever name the certificate is for."""
    site, here = urlsplit(stack.site_url), urlsplit(stack.url)
    host = here.netloc.rpartition(":")[0] or here.netloc
    origin = f"{site.scheme}://{host}" + (f":{site.port}" if site.port else "")
    headers = {"Host": site.netloc, "Cookie": cookie}
    try:
        answer = ask(origin, path, method=method, body=body, headers=headers)
    except NoAnswer as error:
        return str(error)
    is_json = answer.headers.get_content_type() == "application/json"
    text = answer.text[:MOST_SHOWN] if is_json else ""
    return None if answer.status == good else f"{method} {path} is {answer.status} {text}".strip()
