"""Guessing at one account is slowed down on all workers together, and its owner still gets in."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.accounts import hash_password
from app.sessions import Pipeline, RedisSessions, Session
from app.throttle import Attempt, Rules, Throttle
from lab.testbed.servers import Place
from lab.testbed.workers import Worker
from tests.integration.conftest import StartWorkers
from tests.integration.visitor import Visitor

FREE = 3
FIRST, LONGEST = 10.0, 80.0  # seconds: nobody waits here, and a slow machine changes little
SLOW = 5.0  # how much of a wait may have passed before it is looked at
HOME, AWAY = "192.0.2.7", "198.51.100.9"

MakeThrottle = Callable[..., Throttle]


@pytest.fixture
async def throttle_with(place: Place) -> AsyncIterator[MakeThrottle]:
    """Makes throttles that share `place`, as on several workers; keyword arguments are Rules."""
    pipelines: list[Pipeline] = []

    def make(**rules: Any) -> Throttle:
        pipelines.append(Pipeline(place.url, timeout_seconds=5))
        given = {"free_failures": FREE, "first_delay_seconds": FIRST}
        return Throttle(
            pipelines[-1], Rules(**(given | {"longest_delay_seconds": LONGEST} | rules))
        )

    yield make
    for pipeline in pipelines:
        await pipeline.close()


@pytest.fixture
def throttle(throttle_with: MakeThrottle) -> Throttle:
    return throttle_with()


def stranger(throttle: Throttle, number: int = 0, name: str = "ann") -> Attempt:
    """A login as `name` from a network that nobody knows."""
    return throttle.attempt(name, f"203.0.{number}.1", None)


async def fail(throttle: Throttle, times: int, address: str = AWAY) -> None:
    for _ in range(times):
        await throttle.attempt("ann", address, None).failed()


async def session_of(store: RedisSessions, user: str) -> Session:
    session = await store.load(await store.create(user))
    assert session is not None
    return session


async def test_first_failures_are_free(throttle: Throttle) -> None:
    """Who mistypes a few times does not wait."""
    for _ in range(FREE):
        attempt = stranger(throttle)
        assert await attempt.wait() == 0
        await attempt.failed()


@pytest.mark.parametrize(("more", "delay"), [(0, 10), (1, 20), (2, 40), (3, 80), (4, 80), (60, 80)])
async def test_delay_grows(throttle: Throttle, more: int, delay: float) -> None:
    """Each further failure doubles the delay, up to the longest and never beyond."""
    await fail(throttle, FREE + more)

    assert delay - SLOW < await throttle.attempt("ann", AWAY, None).wait() <= delay


async def test_all_workers_count_together(throttle_with: MakeThrottle) -> None:
    """Failures on one worker make the next try wait on another."""
    one, other = throttle_with(), throttle_with()
    await fail(one, FREE)

    assert await stranger(other).wait() > 0


async def test_only_that_account(throttle: Throttle) -> None:
    """Other accounts are not slowed down."""
    await fail(throttle, 20)

    assert await throttle.attempt("bob", AWAY, None).wait() == 0


async def test_success_resets(throttle: Throttle) -> None:
    """After the right password the failures before it no longer count."""
    await fail(throttle, FREE - 1)
    attempt = throttle.attempt("ann", AWAY, None)
    assert await attempt.wait() == 0
    await attempt.succeeded()
    await fail(throttle, FREE - 1)

    assert await throttle.attempt("ann", AWAY, None).wait() == 0


async def test_known_network_is_not_delayed(throttle: Throttle) -> None:
    """However often strangers fail, a network from which the account has logged in does not wait."""
    attempt = throttle.attempt("ann", HOME, None)
    await attempt.wait()
    await attempt.succeeded()
    await fail(throttle, 50)

    assert await throttle.attempt("ann", HOME, None).wait() == 0
    assert await throttle.attempt("ann", "192.0.2.200", None).wait() == 0  # the same /24
    assert await throttle.attempt("ann", AWAY, None).wait() > 0


async def test_networks_of_version_six(throttle: Throttle) -> None:
    """For IPv6 the network is the /64 that one household is given."""
    attempt = throttle.attempt("ann", "2001:db8:0:1::1", None)
    await attempt.wait()
    await attempt.succeeded()
    await fail(throttle, 50)

    assert await throttle.attempt("ann", "2001:db8:0:1:ffff::2", None).wait() == 0
    assert await throttle.attempt("ann", "2001:db8:0:2::1", None).wait() > 0


async def test_mapped_addresses(throttle: Throttle) -> None:
    """IPv4 addresses that a proxy writes as ::ffff:192.0.2.7 are the networks that they stand for."""
    attempt = throttle.attempt("ann", f"::ffff:{HOME}", None)
    await attempt.succeeded()
    await fail(throttle, FREE + 1, f"::ffff:{AWAY}")

    assert await throttle.attempt("ann", HOME, None).wait() == 0
    assert await throttle.attempt("ann", AWAY, None).wait() > 0


async def test_live_session_is_not_delayed(throttle: Throttle, store: RedisSessions) -> None:
    """A browser that is still logged in as the account does not wait, from anywhere."""
    await fail(throttle, 50)
    own, other = await session_of(store, "ann"), await session_of(store, "bob")

    assert await throttle.attempt("ann", AWAY, own).wait() == 0
    assert await throttle.attempt("ann", AWAY, other).wait() > 0


async def test_known_networks_are_counted_too(throttle: Throttle) -> None:
    """Guessing from the owner's own network is slowed down as anywhere else."""
    attempt = throttle.attempt("ann", HOME, None)
    await attempt.wait()
    await attempt.succeeded()
    await fail(throttle, FREE, HOME)

    assert FIRST - SLOW < await throttle.attempt("ann", HOME, None).wait() <= FIRST
    assert await throttle.attempt("ann", AWAY, None).wait() == 0


async def test_strangers_take_turns(throttle: Throttle) -> None:
    """Strangers from many networks get one turn a delay, together: addresses buy no guesses."""
    await fail(throttle, FREE)
    waits = [await stranger(throttle, number).wait() for number in range(5)]

    for number, wait in enumerate(waits, start=1):
        assert number * FIRST - SLOW < wait <= number * FIRST


async def test_turn_is_kept(throttle_with: MakeThrottle) -> None:
    """Who comes back when told gets in, although another has been trying all the time."""
    throttle = throttle_with(first_delay_seconds=1.5, longest_delay_seconds=1.5)
    await fail(throttle, FREE)
    owner = throttle.attempt("ann", HOME, None)
    wait = await owner.wait()
    deadline = asyncio.get_running_loop().time() + wait + 0.01
    while asyncio.get_running_loop().time() < deadline:
        if await throttle.attempt("ann", AWAY, None).wait() == 0:
            await fail(throttle, 1)
        await asyncio.sleep(0.01)

    assert 0 < wait <= 3
    assert await owner.wait() == 0


async def test_queue_is_bounded(throttle_with: MakeThrottle) -> None:
    """Nobody is told to come back in more than the queue's bound, however many are trying."""
    throttle = throttle_with(turns_ahead=4)
    await fail(throttle, FREE + 9)
    waits = [await stranger(throttle, number).wait() for number in range(20)]

    assert max(waits) <= LONGEST * 6
    assert min(waits) > 0


async def test_parallel_guesses(throttle: Throttle) -> None:
    """Of many guesses at the same moment one takes the turn, and the others wait."""
    await fail(throttle, FREE)
    guesses = [stranger(throttle, 1).wait() for _ in range(50)]
    waits = await asyncio.gather(*guesses)

    assert sum(wait == 0 for wait in waits) <= 1


async def checked(guesses: list[Attempt], seconds: float) -> int:
    """How many of these may check a wrong password when each check takes so long."""

    async def check(guess: Attempt) -> bool:
        if await guess.wait():
            return False
        await asyncio.sleep(seconds)
        await guess.failed()
        return True

    return sum(await asyncio.gather(*map(check, guesses)))


async def test_parallel_first_guesses(throttle_with: MakeThrottle) -> None:
    """Of 130 first guesses at the same moment only as many are checked as failures are free."""
    throttles = [throttle_with(free_failures=10) for _ in range(2)]
    guesses = [stranger(throttles[n % 2], n) for n in range(130)]

    assert await checked(guesses, 0.2) == 10


async def test_parallel_guesses_need_the_reservation(throttle: Throttle) -> None:
    """When a try takes no free failure before its check, all of them pass: the test above can fail."""
    guesses = [stranger(throttle, n) for n in range(130)]

    async def unreserved(guess: Attempt) -> float:
        wait = await guess.wait()
        await guess.give_back()
        return wait

    assert sum([await unreserved(guess) == 0 for guess in guesses]) == 130


async def test_try_of_a_dead_worker_is_forgotten(throttle_with: MakeThrottle) -> None:
    """A try whose worker died keeps its place for `longest_try_seconds` and no longer."""
    throttle = throttle_with(free_failures=1, longest_try_seconds=0.5)
    assert await stranger(throttle).wait() == 0

    began = asyncio.get_running_loop().time()
    assert await stranger(throttle).wait() == 0
    assert asyncio.get_running_loop().time() - began > 0.3


async def test_nothing_readable_is_stored(throttle: Throttle, place: Place) -> None:
    """Redis learns neither the name nor the address, and forgets everything by itself."""
    attempt = throttle.attempt("ann-of-this-test", HOME, None)
    await attempt.wait()
    await attempt.succeeded()
    for number in range(FREE + 2):
        await stranger(throttle, number, "ann-of-this-test").failed()
        await stranger(throttle, number, "ann-of-this-test").wait()
    keys = [key for node in place.nodes for key in node.admin.keys("*")]
    stored = [place.admin.dump(key) for key in keys]

    assert len(keys) == 3
    assert not any(word in text for word in (b"ann-of", b"192.0") for text in (*keys, *stored))
    assert all(0 < place.admin.pttl(key) <= 30 * 86400 * 1000 for key in keys)


async def test_off(throttle_with: MakeThrottle) -> None:
    """With LOGIN_TRIES=0 nobody waits and nothing is stored."""
    throttle = throttle_with(free_failures=0)
    await fail(throttle, 100)

    assert await throttle.attempt("ann", AWAY, None).wait() == 0


GUESSES = 24


async def guess(http: httpx.AsyncClient, workers: list[Worker], name: str) -> list[httpx.Response]:
    """Wrong passwords for one name, on one worker after the other."""
    form = {"username": name, "password": "wrong"}
    return [
        await http.post(f"{workers[n % len(workers)].url}/login", data=form) for n in range(GUESSES)
    ]


async def test_brute_force(workers: list[Worker], http: httpx.AsyncClient) -> None:
    """After ten wrong passwords for one name, over all workers, guessing is 429 with Retry-After."""
    answers = await guess(http, workers, "brute-force-victim")

    assert [answer.status_code for answer in answers[:10]] == [401] * 10
    assert Counter(answer.status_code for answer in answers[10:])[429] >= len(answers[10:]) - 4
    refused = [answer for answer in answers if answer.status_code == 429][-1]
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert f"Try again in {refused.headers['Retry-After']} s." in refused.text
    assert 'value="brute-force-victim"' in refused.text


async def test_parallel_brute_force(workers: list[Worker], http: httpx.AsyncClient) -> None:
    """A hundred first guesses at once, over all workers, get ten answers about the password."""
    form = {"username": "parallel-victim", "password": "wrong"}
    answers = await asyncio.gather(
        *(http.post(f"{workers[n % 2].url}/login", data=form) for n in range(100))
    )

    assert Counter(answer.status_code for answer in answers) == {401: 10, 429: 90}


async def test_password_as_received(
    start_workers: StartWorkers, shared_single: Place, http: httpx.AsyncClient
) -> None:
    """A control character in a password or a name is no space: nothing is repaired (ASVS 5.0 6.2.8)."""
    (worker,) = start_workers(shared_single.url, 1, DEMO_PASSWORD="correct horse")

    async def status(name: str, password: str) -> int:
        form = {"username": name, "password": password}
        return (await http.post(f"{worker.url}/login", data=form)).status_code

    assert await status("ann lee", "correct horse") == 302
    assert await status("ann lee", "correct\x01horse") == 401
    assert await status("ann lee", " correct horse") == 401
    assert await status("ann\x01lee", "correct horse") == 401


async def test_brute_force_needs_the_throttle(
    start_workers: StartWorkers, shared_single: Place, http: httpx.AsyncClient
) -> None:
    """With the throttle off every guess is checked, and the test above would notice it."""
    workers = start_workers(shared_single.url, 2, LOGIN_TRIES="0")

    assert {a.status_code for a in await guess(http, workers, "unprotected")} == {401}


async def test_unknown_names_are_slowed_down_alike(
    start_workers: StartWorkers, shared_single: Place, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """A name that nobody has is answered like one that somebody has: nothing tells which exist."""
    users = tmp_path / "users"
    users.write_text(f"somebody:{hash_password('right password')}\n")
    secret = {"SESSION_SECRETS": "s" * 40, "USERS_FILE": str(users), "APP_ENV": "production"}
    workers = start_workers(shared_single.url, 2, **secret)
    for name in ("somebody", "nobody"):
        statuses = [answer.status_code for answer in await guess(http, workers, name)]

        assert statuses[:10] == [401] * 10
        assert 429 in statuses[10:]


async def test_owner_with_a_session_gets_in(workers: list[Worker], http: httpx.AsyncClient) -> None:
    """While somebody guesses, the owner's browser that is still logged in may log in again."""
    owner = Visitor(http)
    await owner.log_in(workers[0], "owner-with-session")
    guesses = await guess(http, workers, "owner-with-session")
    again = await owner.log_in(workers[1], "owner-with-session")

    assert 429 in {answer.status_code for answer in guesses}
    assert again.status_code == 302


async def test_right_passwords_are_never_delayed(
    workers: list[Worker], http: httpx.AsyncClient
) -> None:
    """Only failures count: thirty logins of one name at once all get in."""
    form = {"username": "busy", "password": "demo"}
    answers = await asyncio.gather(
        *(http.post(f"{workers[n % 2].url}/login", data=form) for n in range(30))
    )

    assert Counter(answer.status_code for answer in answers)[429] == 0


@pytest.mark.parametrize("part", ["counts", "turns", "networks"])
@pytest.mark.parametrize("known", [False, True])
async def test_damaged_keys(throttle: Throttle, place: Place, part: str, known: bool) -> None:
    """Something else at one of its keys, or in it, keeps nobody out: what was counted there begins anew."""
    await fail(throttle, FREE + 1)
    key = f"login:{{{hashlib.sha256(b'ann').hexdigest()[:32]}}}:{part}"
    for damage in (place.admin.delete, lambda key: place.admin.set(key, "text")):
        damage(key)
        attempt = throttle.attempt("ann", HOME if known else AWAY, None)
        await attempt.wait()
        await attempt.failed()
        await attempt.succeeded()
    place.admin.delete(key)
    place.admin.rpush(key, "a list")
    await throttle.attempt("ann", HOME, None).failed()


async def test_damaged_counts(throttle: Throttle, place: Place) -> None:
    """A count that is no number begins anew."""
    key = f"login:{{{hashlib.sha256(b'ann').hexdigest()[:32]}}}:counts"
    place.admin.hset(key, mapping={"failures strangers": "many", "next strangers": "soon"})
    attempt = stranger(throttle)
    assert await attempt.wait() == 0
    await attempt.failed()
    assert place.admin.hget(key, "failures strangers") == b"1"
