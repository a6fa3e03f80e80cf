"""The load test's visitors, through all edges of a stack, resting while the nemesis has them look at everything.

lab/nemesis/load.py starts it, by Locust, and says in EDGES where the edges are.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import gevent

sys.path.insert(0, str(Path(__file__).parents[2]))  # Locust has put its own folder first

import loadtest.locustfile as loaded
from lab.nemesis.rest import Rest
from lab.nemesis.witnesses import WITNESSES, serve_witnesses
from loadtest.check.op import Kind, Op, Outcome
from loadtest.load.browser import Browser, Session
from loadtest.load.generator import Generator
from loadtest.scenarios.rests import LateLooks, long_lives

EDGES = os.environ.get("EDGES", "").split()
THINK_SECONDS = (0.2, 0.8)  # of a user, between two sessions


class AllEdges(Browser):
    """Sends its requests through one edge after the other, as a name with several addresses leads to them."""

    answer_seconds = 8.0  # below it nothing is given up that an edge waits for: a worker replaced by the watchdog is

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._edges = cycle(random.sample(EDGES, len(EDGES)))

    def login(self, *given: Any, **more: Any) -> Session:
        """Its cookie is written out: for the jar each address is another site."""
        session = super().login(*given, **more)
        session.pinned = True
        return session

    def _send(self, op: Op, method: str, path: str, *given: Any) -> Op:
        op.through = next(self._edges)
        return super()._send(op, method, op.through + path, *given)


class Repeating(AllEdges):
    """Broken on purpose: a visit that was answered with an error is sent again as another one."""

    def _visit(self, kind: Kind, session: Session, name: str, intended: int | None = None) -> Op:
        op = super()._visit(kind, session, name, intended)
        if op.outcome is Outcome.UNKNOWN and op.status:
            self._http.request(
                "POST",
                next(self._edges) + "/api/visits",
                data=f'{{"op":"{name}-again"}}',
                headers={"Cookie": session.cookie, "Content-Type": "application/json"},
                context={"recorded": op.number},
            )
        return op


BROWSER = Repeating if os.environ.get("CLIENT") == "repeating" else AllEdges


class Users(loaded.Closed):
    """The closed users of the load test; they finish their session when all are to rest."""

    browser = BROWSER

    def wait_time(self) -> float:
        """Between two sessions."""
        while REST.asked():
            gevent.sleep(0.1)
        return random.uniform(*THINK_SECONDS)


def companions(generator: Generator) -> Iterator[Callable[[], None]]:
    """Late looks, sessions that mostly rest, and the witnesses, which live from the first fault to the last."""
    make = partial(loaded.make_visitor, generator, BROWSER)
    visitor = make()
    looks = loaded.Closed.looks = LateLooks(visitor.browser, visitor)
    yield partial(looks.run, generator.is_over)
    yield from long_lives(make, generator.is_over)
    witnesses, plan = [make() for _ in range(WITNESSES)], loaded.Closed.conductor.plan
    assert plan is not None
    rate, seed = plan.settings["rate"], plan.settings["seed"]
    yield partial(serve_witnesses, witnesses, rate, seed, REST, generator.is_over)


REST = Rest(Path(os.environ.get("REST", "")))
loaded.Closed.accompany = companions
