"""What a flood of logins costs everybody else: requests for `/` a second, without it and with it.

`.venv/bin/python -m lab.cost.login_flood [seconds]` starts its own stack in production mode, so
that each wrong password costs an argon2id check.  Rounds alternate, so that a busy machine meets both.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from app.accounts import hash_password
from deploy.native.scratch import scratch_stack
from deploy.paths import ROOT
from lab.client import Client
from lab.cost.generator import Generator, Target
from lab.visitors import FORM, login_form
from loadtest.load.answers import given_cookie

ROUNDS = 5
ATTACKERS = 64  # connections that try passwords, each time under another name
PASSWORD = "the password of the benchmark"


def main() -> None:
    if sys.argv[1:2] == ["flood"]:
        asyncio.run(flood(sys.argv[2], float(sys.argv[3])))
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    with tempfile.TemporaryDirectory() as folder:
        users = Path(folder) / "users"
        users.write_text(f"ann:{hash_password(PASSWORD)}\n")
        given = {"APP_ENV": "production", "USERS_FILE": str(users), "SESSION_SECRETS": "s" * 40}
        given["HTTPS_ONLY"] = "0"  # the generator speaks plain http
        with scratch_stack(ROOT / "nginx/upstream.conf", os.environ, **given) as stack:
            compare(stack.url, stack.http_port, seconds)


def compare(url: str, port: int, seconds: float) -> None:
    """Ask for `/` in turns, with and without attackers, and print both rates."""
    target = Target("the page", port, "/", 0, [asyncio.run(log_in(url))])
    generator = Generator(wrk=False)
    rates: dict[bool, list[float]] = {False: [], True: []}
    checked = 0
    for _ in range(ROUNDS):
        for flooded in rates:
            attack = start_flood(url, seconds + 2) if flooded else None
            time.sleep(1)  # the flood is under way
            answers, took = generator.rate(target, seconds)
            rates[flooded].append(answers / took)
            if attack:
                checked += int(attack.communicate()[0].split()[-1])
    calm, busy = (statistics.median(rates[flooded]) for flooded in (False, True))
    print(f"/ without a flood: {calm:.0f} requests/s, with {ATTACKERS} attackers: {busy:.0f}")
    print(
        f"what is left: {busy / calm:.0%}; passwords checked: {checked / ROUNDS / (seconds + 2):.0f}/s"
    )


def start_flood(url: str, seconds: float) -> subprocess.Popen[str]:
    """In a process of its own: what it costs must not slow the counting down."""
    command = [sys.executable, "-m", "lab.cost.login_flood", "flood", url, str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def flood(url: str, seconds: float) -> None:
    """Try passwords until the time is over; prints how many were checked (answered with 401)."""
    deadline = time.monotonic() + seconds

    async def attacker(client: Client, number: int) -> int:
        tried = checked = 0
        while time.monotonic() < deadline:
            tried += 1
            form = login_form(f"name-{number}-{tried}-{deadline}", "wrong")
            checked += (await client.request("POST", "/login", FORM, form)).status == 401
        return checked

    async with Client(url) as client:
        print(sum(await asyncio.gather(*(attacker(client, n) for n in range(ATTACKERS)))))


async def log_in(url: str) -> str:
    """The Cookie header of a new session."""
    async with Client(url) as client:
        answer = await client.request("POST", "/login", FORM, login_form("ann", PASSWORD))
    return given_cookie(answer.headers)


if __name__ == "__main__":
    main()
