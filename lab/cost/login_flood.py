"""What a flood of logins costs everybody else: requests for `/` a second, without it and with it.

`.venv/bin/python -m lab.cost.login_flood [seconds]` starts its own stack in production mode, so
that each wrong password costs an argon2id check.  Rounds alternate, so that a busy machine meets both.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from app.accounts import hash_password
from deploy.native.scratch import scratch_stack
from deploy.paths import ROOT

ROUNDS = 5
VISITORS = 16  # connections that ask for `/`, one request after the other
ATTACKERS = 64  # connections that try passwords, each time under another name
PASSWORD = "the password of the benchmark"


def main() -> None:
    if sys.argv[1:2] == ["flood"]:
        asyncio.run(flood(int(sys.argv[2]), float(sys.argv[3])))
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    with tempfile.TemporaryDirectory() as folder:
        users = Path(folder) / "users"
        users.write_text(f"ann:{hash_password(PASSWORD)}\n")
        given = {"APP_ENV": "production", "USERS_FILE": str(users), "SESSION_SECRETS": "s" * 40}
        with scratch_stack(ROOT / "nginx/upstream.conf", os.environ, **given) as stack:
            asyncio.run(compare(stack.http_port, seconds))


async def compare(port: int, seconds: float) -> None:
    cookie = await log_in(port)
    rates: dict[bool, list[float]] = {False: [], True: []}
    checked = 0
    for _ in range(ROUNDS):
        for flooded in rates:
            attack = start_flood(port, seconds + 2) if flooded else None
            await asyncio.sleep(1)  # the flood is under way
            rates[flooded].append(await visits(port, cookie, seconds) / seconds)
            if attack:
                checked += int(attack.communicate()[0].split()[-1])
    calm, busy = (statistics.median(rates[flooded]) for flooded in (False, True))
    print(f"/ without a flood: {calm:.0f} requests/s, with {ATTACKERS} attackers: {busy:.0f}")
    print(
        f"what is left: {busy / calm:.0%}; passwords checked: {checked / ROUNDS / (seconds + 2):.0f}/s"
    )


def start_flood(port: int, seconds: float) -> subprocess.Popen[str]:
    """In a process of its own: what it costs must not slow the counting down."""
    command = [sys.executable, "-m", "lab.cost.login_flood", "flood", str(port)]
    return subprocess.Popen([*command, str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def visits(port: int, cookie: str, seconds: float) -> int:
    """How many requests for `/` were answered with 200."""
    ask = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode()
    deadline = time.monotonic() + seconds

    async def visitor() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.monotonic() < deadline:
            writer.write(ask)
            count += await status(reader) == 200
        writer.close()
        return count

    return sum(await asyncio.gather(*(visitor() for _ in range(VISITORS))))


async def flood(port: int, seconds: float) -> None:
    """Try passwords until the time is over; prints how many were checked (answered with 401)."""
    deadline = time.monotonic() + seconds

    async def attacker(number: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        tried = checked = 0
        while time.monotonic() < deadline:
            tried += 1
            writer.write(login(port, f"name-{number}-{tried}-{deadline}", "wrong"))
            checked += await status(reader) == 401
        writer.close()
        return checked

    print(sum(await asyncio.gather(*map(attacker, range(ATTACKERS)))))


async def log_in(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(login(port, "ann", PASSWORD))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    cookie = re.search(rb"Set-Cookie: (sid=[^;]+)", head)
    assert cookie, head
    return cookie[1].decode()


def login(port: int, name: str, password: str) -> bytes:
    form = f"username={name}&password={password.replace(' ', '+')}"
    head = f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(form)}\r\n"
    return f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}".encode()


async def status(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head, re.IGNORECASE)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head.split(b" ", 2)[1])


if __name__ == "__main__":
    main()
