"""Requests go to the workers in turn, however many nginx processes take them."""

from __future__ import annotations

import http.client
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from deploy.native.scratch import Scratch
from deploy.upstream.read import read_upstream
from tests.conftest import UPSTREAM
from tests.stack.conftest import ChangedNginx
from tests.stack.visitor import Visitor, worker_of

WORKERS = len(read_upstream(UPSTREAM).served)
CONNECTIONS = 9  # no multiple of the workers: rotations of their own cannot add up evenly
MOST_ROUNDS = 60
ZONE = "zone app 512k;"


def spread(url: str, connections: int) -> Counter[str]:
    """Which worker answered, one request on each of several connections open at the same time."""
    address = urlsplit(url)
    opened = [
        http.client.HTTPConnection(address.hostname or "", address.port) for _ in range(connections)
    ]
    answered: Counter[str] = Counter()
    for connection in opened:
        connection.connect()
    for connection in opened:
        connection.request("GET", "/login")
        answer = connection.getresponse()
        answer.read()
        answered[answer.headers["X-Served-By"]] += 1
    for connection in opened:
        connection.close()
    return answered


def difference(counts: Counter[str]) -> int:
    """Between the most and the least asked worker."""
    return max(counts.values()) - (min(counts.values()) if len(counts) == WORKERS else 0)


def test_every_worker_answers(visitor: Visitor) -> None:
    """Twice as many requests as workers reach every worker of upstream.conf, session or not."""
    answered = {worker_of(visitor.get("/login")) for _ in range(2 * WORKERS)}

    assert len(answered) == WORKERS


@pytest.mark.native
def test_turns_are_shared(changed_nginx: ChangedNginx) -> None:
    """Over many connections to several nginx processes no worker gets more than one request more."""
    url = changed_nginx("upstream.conf", ZONE, ZONE, dealt=True)

    for _ in range(MOST_ROUNDS):
        assert difference(spread(url, CONNECTIONS)) <= 1


@pytest.mark.native
def test_turns_need_the_zone(changed_nginx: ChangedNginx) -> None:
    """Without `zone` each nginx process takes turns by itself, and the check above notices it."""
    url = changed_nginx("upstream.conf", ZONE, "", dealt=True)

    assert any(difference(spread(url, CONNECTIONS)) > 1 for _ in range(MOST_ROUNDS))


def window(url: str) -> Counter[str]:
    """Which worker answered 1,000 requests, sent by eight visitors at the same time."""
    with ThreadPoolExecutor(8) as visitors:
        counts = list(visitors.map(lambda _: kept_open(url, 125), range(8)))
    return sum(counts, Counter())


def kept_open(url: str, requests: int) -> Counter[str]:
    """Which worker answered so many requests over one connection."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    answered: Counter[str] = Counter()
    for _ in range(requests):
        connection.request("GET", "/login")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        answered[answer.headers["X-Served-By"]] += 1
    connection.close()
    return answered


@pytest.mark.native
def test_thousand_requests(stack: Scratch) -> None:
    """Of any 1,000 requests, sent in parallel, no worker gets more than one more than another."""
    assert [difference(window(stack.url)) <= 1 for _ in range(3)] == [True] * 3


@pytest.mark.native
def test_thousand_need_the_zone(changed_nginx: ChangedNginx) -> None:
    """Without `zone` that does not hold, and the check above notices it."""
    url = changed_nginx("upstream.conf", ZONE, "", dealt=True)

    assert any(difference(window(url)) > 1 for _ in range(MOST_ROUNDS))
