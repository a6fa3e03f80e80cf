"""Guessing one account's password, slowed down for all workers together; its owner is never locked out.

nginx limits each address; this limits each account, which one attacker may try from many addresses.
After a few failures each further try has to wait, 1 s at first and doubling to a minute (ASVS 5.0 6.3.1).
Failures of strangers delay strangers only: a network from which this account has logged in within 30
days, and a browser that is still logged in, are counted by themselves.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.sessions import Pipeline, Session
from app.sessions.limits import ms
from app.sessions.wire.calls import Command, Script

SCRIPT = Script.of(Path(__file__).with_suffix(".lua").read_text())
OUTCOME_SECONDS = 3.0  # for which a try waits at most for those under way
AGAIN_SECONDS = 0.1
NETWORK_BITS = {4: 24, 6: 64}  # what one customer is given; more would put strangers together


@dataclass(frozen=True)
class Rules:
    """`free_failures` is LOGIN_TRIES.  Times are in seconds.

    A try that has no outcome after `longest_try_seconds` is forgotten: its worker has died.
    `turns_ahead` bounds the queue of strangers, in longest delays; further ones come back later.
    """

    free_failures: int = 10
    first_delay_seconds: float = 1
    longest_delay_seconds: float = 60
    turns_ahead: int = 15
    longest_try_seconds: float = 10
    failures_remembered_seconds: float = 3600
    networks_remembered_seconds: float = 30 * 86400


class Throttle:
    """Makes an Attempt for each login.  With no free failures it is off, and everybody may go on."""

    def __init__(self, pipeline: Pipeline, rules: Rules = Rules(), prefix: str = "") -> None:
        """`prefix` begins every key, as those of the sessions."""
        self._pipeline = pipeline
        self._rules = rules
        self._prefix = prefix

    def attempt(self, name: str, address: str, session: Session | None) -> Attempt:
        """A login as `name` from `address`, by a browser that holds `session`, or none."""
        if session is not None and session.user == name:
            origin, proven = f"session {session.digest}", True
        else:
            origin, proven = f"network {_network(address)}", False
        # Hashes: who reads Redis learns neither who logs in here nor from where.
        account = hashlib.sha256(name.encode()).hexdigest()
        mark = hashlib.sha256(f"{account} {origin}".encode()).hexdigest()[:16]
        key = key_of(account, self._prefix)
        keys = [f"{key}:{part}" for part in ("counts", "turns", "networks")]
        return Attempt(self._rules, partial(self._pipeline.run, SCRIPT, keys), mark, proven)


@dataclass
class Attempt:
    """One login: `wait` before the password is checked, then `failed`, `succeeded` or `give_back`.

    Each may raise StoreUnavailable.
    """

    rules: Rules
    run: Callable[[Command], Awaitable[tuple[int, bytes]]]
    origin: str
    proven: bool
    held: str = ""  # whose free failure this try has taken

    async def wait(self) -> float:
        """Seconds after which to come back; 0: the password may be checked now.

        While as many others are being checked as failures are free, it waits for their outcome.
        """
        if not self.rules.free_failures:
            return 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + OUTCOME_SECONDS
        while (answer := await self._step("try"))[0] < 0:
            if loop.time() > deadline:
                return 1
            await asyncio.sleep(AGAIN_SECONDS)
        self.held = answer[1].decode()
        return answer[0] / 1000

    async def failed(self) -> None:
        """Count a wrong password."""
        await self._end("wrong")

    async def succeeded(self) -> None:
        """Forget the failures, and remember this network."""
        await self._end("right")

    async def give_back(self) -> None:
        """The password was not checked."""
        await self._end("back")

    async def _end(self, step: str) -> None:
        if self.rules.free_failures:
            await self._step(step)

    async def _step(self, step: str) -> tuple[int, bytes]:
        rules = self.rules
        args = (
            step, self.origin, int(self.proven), rules.free_failures,
            ms(rules.first_delay_seconds), ms(rules.longest_delay_seconds), rules.turns_ahead,
            ms(rules.failures_remembered_seconds), ms(rules.networks_remembered_seconds),
            ms(rules.longest_try_seconds), self.held,
        )  # fmt: skip
        return await self.run(args)


def key_of(account: str, prefix: str = "") -> str:
    """What the keys of an account begin with; one slot of a cluster holds them."""
    return f"{prefix}login:{{{account[:32]}}}"


def _network(address: str) -> str:
    """The network that `address` is in; what is no address is a network by itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    # Some proxies write IPv4 addresses as ::ffff:192.0.2.7, which would all be one network.
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return str(ipaddress.ip_network((parsed, NETWORK_BITS[parsed.version]), strict=False))
