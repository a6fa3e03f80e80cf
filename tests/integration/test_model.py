"""Several engines on one server, step by step against a model: each answer, and all that Redis holds."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Coroutine
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
import ujson
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.sessions import Limits, NotAnInteger, Pipeline, RedisSessions, Session
from lab.testbed.servers import Place
from tests.integration.loading import key_of
from tests.integration.model import CAP, Loaded, Model, NotCountable

ENGINES = 3
AGE_SECONDS = 0.002  # an id may be renewed after that
LIMITS = Limits(touch_seconds=0, renew_seconds=AGE_SECONDS, renew_grace_seconds=0, max_per_user=CAP)

users = st.sampled_from(["ann", "bob"])
keys = st.sampled_from(["a", "b", "kept"])
operations = st.sampled_from(["x", "y"])
engines = st.integers(0, ENGINES - 1)
picks = st.integers(0, 6)  # counted from the newest
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "é", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("pq"), inner, max_size=2)
    ),
    max_leaves=3,
)


class Request:
    """One request in flight: the engine's session and the model's, which have to stay alike."""

    def __init__(self, engine: RedisSessions, session: Session, loaded: Loaded) -> None:
        self.engine = engine
        self.session = session
        self.loaded = loaded

    def check(self) -> None:
        assert dict(self.session._values) == self.loaded.now
        assert self.session.version == self.loaded.version


class Machine(RuleBasedStateMachine):
    """Each rule does one thing through an engine and the same in the model, and compares.

    Few sessions and several requests on each, so that requests meet; those that hold an ended session
    stay for a while, as late requests do.
    """

    place: ClassVar[Place]
    runner: ClassVar[asyncio.Runner]
    engines: ClassVar[list[RedisSessions]]

    def __init__(self) -> None:
        super().__init__()
        self.place.admin.flushall()
        self.model = Model()
        self.ids: list[str] = []
        self.requests: list[Request] = []
        self.create("ann", 0, {"a": 1, "kept": [1]})
        for n in range(ENGINES):
            self.load(0, n)

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(what)

    def request(self, pick: int) -> Request:
        """One of the newest requests, most of which hold a living session."""
        late = [one for one in self.requests if not one.loaded.stored.alive][-2:]
        current = [one for one in self.requests if one.loaded.stored.alive][-5:]
        self.requests = late + current
        return self.requests[-1 - pick % len(self.requests)]

    @rule(user=users, n=engines, data=st.dictionaries(keys, values, max_size=2))
    def create(self, user: str, n: int, data: dict[str, Any]) -> None:
        time.sleep(0.0015)  # logins of one millisecond have no order
        self.ids.append(self.run(self.engines[n].create(user, data)))
        self.model.create(user, data, self.ids[-1], None)

    @rule(user=users, pick=picks)
    def log_in_again(self, user: str, pick: int) -> None:
        time.sleep(0.0015)
        old = self.request(pick)
        what = old.engine.create(user, replacing=old.session, keep=("kept",))
        self.ids.append(self.run(what))
        self.model.create(user, {}, self.ids[-1], old.loaded)

    @rule(pick=picks, n=engines)
    def load(self, pick: int, n: int) -> None:
        self._load(self.ids[-1 - pick % len(self.ids)], n)

    def _load(self, session_id: str, n: int) -> None:
        session = self.run(self.engines[n].load(session_id))
        loaded = self.model.load(session_id)
        assert (session is None) == (loaded is None)
        if session is not None and loaded is not None:
            self.requests.append(Request(self.engines[n], session, loaded))
            self.requests[-1].check()
            stored = loaded.stored
            if stored.used and len(stored.ids) > 1:  # noted by a call that a load does not wait for
                key = key_of(stored.ids[0])
                while not self.place.admin.hexists(key, "used"):
                    self.run(self.engines[n].check())

    @rule(pick=picks, n=engines)
    def load_again(self, pick: int, n: int) -> None:
        """A second request of a visitor who is there, on whichever worker."""
        stored = self.request(pick).loaded.stored
        self._load(stored.ids[pick % len(stored.ids)], n)

    @rule(pick=picks, key=keys, value=values, saved=st.booleans())
    def change(self, pick: int, key: str, value: Any, saved: bool) -> None:
        request = self.request(pick)
        request.session[key] = copy.deepcopy(value)
        request.loaded.now[key] = copy.deepcopy(value)
        self.save(pick) if saved else None

    @rule(pick=picks, key=keys, value=values, saved=st.booleans())
    def change_inside(self, pick: int, key: str, value: Any, saved: bool) -> None:
        request = self.request(pick)
        for data in (request.session, request.loaded.now):
            nested = data.get(key)
            if isinstance(nested, list):
                nested.append(copy.deepcopy(value))
            elif isinstance(nested, dict):
                nested["p"] = copy.deepcopy(value)
        self.save(pick) if saved else None

    @rule(pick=picks, key=keys, saved=st.booleans())
    def delete(self, pick: int, key: str, saved: bool) -> None:
        request = self.request(pick)
        request.session.pop(key, None)
        request.loaded.now.pop(key, None)
        self.save(pick) if saved else None

    @rule(pick=picks)
    def save(self, pick: int) -> None:
        request = self.request(pick)
        assert self.run(request.engine.save(request.session)) is self.model.save(request.loaded)
        request.check()

    @rule(pick=picks, key=keys)
    def update(self, pick: int, key: str) -> None:
        def add_one(session: Session) -> None:
            value = session.get(key)
            session[key] = value + 1 if type(value) is int else 1

        request = self.request(pick)
        saved = self.run(request.engine.update(request.session, add_one))
        assert saved is self.model.update(request.loaded, key)
        if saved:
            request.check()

    @rule(pick=picks, key=st.sampled_from(["n", "a"]), operation=operations)
    def increment(self, pick: int, key: str, operation: str) -> None:
        request = self.request(pick)
        call = request.engine.increment(request.session, key, operation=operation)
        try:
            expected = self.model.increment(request.loaded, key, operation)
        except NotCountable:
            with pytest.raises(NotAnInteger):
                self.run(call)
        else:
            assert self.run(call) == expected
        request.check()

    @rule(pick=picks, key=keys)
    def pop(self, pick: int, key: str) -> None:
        request = self.request(pick)
        value = self.run(request.engine.pop(request.session, key))
        assert value == self.model.pop(request.loaded, key)
        request.check()

    @rule(pick=picks, n=engines, old=st.booleans())
    def renew(self, pick: int, n: int, old: bool) -> None:
        """A request with the newest id once that is due, or with the one before it while that is good."""
        stored = self.request(pick).loaded.stored
        if not stored.alive:
            return
        by_newest = not old or len(stored.good_ids) == 1
        self._load(stored.good_ids[-1 if by_newest else 0], n)
        if by_newest:
            time.sleep(AGE_SECONDS + 0.0015)
            self._load(stored.ids[-1], n)
        self.ask_for_new_id(self.requests[-1])

    @rule(pick=picks)
    def renew_late(self, pick: int) -> None:
        """A request that began two ids ago, or whose session has ended."""
        request = self.request(pick)
        ended = not request.loaded.stored.alive
        if ended or request.loaded.session_id not in request.loaded.stored.ids[-2:]:
            self.ask_for_new_id(request)

    def ask_for_new_id(self, request: Request) -> None:
        session_id = self.run(request.engine.renew(request.session))
        assert self.model.renew(request.loaded, session_id)
        if session_id is not None and session_id not in self.ids:
            self.ids.append(session_id)

    @rule(pick=picks, how=st.sampled_from(["expiry", "logout", "all", "others"]))
    def end(self, pick: int, how: str) -> None:
        request = self.request(pick)
        loaded, engine = request.loaded, request.engine
        user = loaded.stored.user
        if how == "expiry":  # Redis drops the session and its log, as at the end of its time
            if loaded.stored.alive:
                current = key_of(loaded.stored.ids[0])
                self.place.admin.delete(current, current.replace("session:", "operations:", 1))
            loaded.stored.alive = False
        elif how == "logout":
            assert self.run(engine.destroy(request.session)) is self.model.destroy(loaded)
        elif how == "all":
            assert self.run(engine.end_all(user)) == self.model.end_all(user)
        elif loaded.stored.alive:
            ended = self.run(engine.end_others(request.session))
            assert ended == self.model.end_all(user, keep=loaded)

    @rule(user=users, n=engines)
    def devices(self, user: str, n: int) -> None:
        listed = [device.ref for device in self.run(self.engines[n].devices(user))]
        living = [key_of(one.ids[0]) for one in self.model.living(user)]
        assert sorted(listed) == sorted(key.rpartition(":")[2][:16] for key in living)

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        held = {}
        for key in self.place.admin.scan_iter(match="session:*", count=1000):
            fields = self.place.admin.hgetall(key)
            data = {k[2:].decode(): ujson.loads(v) for k, v in fields.items() if k[:2] == b"d:"}
            held[key.decode()] = (int(fields[b"version"]), data)
        expected = {key_of(one.ids[0]): (one.version, one.data) for one in self.model.living()}
        assert held == expected


@pytest.mark.parametrize(
    ("place", "examples"),
    [
        ("single", 40),
        pytest.param("single", 150, marks=pytest.mark.long),
        pytest.param("cluster", 40, marks=pytest.mark.long),
    ],
    indirect=["place"],
)
def test_engine_and_model_agree(place: Place, examples: int) -> None:
    """Whatever several workers do in whatever order, each answer and Redis's content are the model's."""
    with asyncio.Runner() as runner:

        async def start() -> list[Pipeline]:
            return [Pipeline(place.url, timeout_seconds=5) for _ in range(ENGINES)]

        pipelines = runner.run(start())
        Machine.place, Machine.runner = place, runner
        Machine.engines = [RedisSessions(pipeline, LIMITS) for pipeline in pipelines]
        try:
            run_state_machine_as_test(  # type: ignore[no-untyped-call]
                Machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    print_blob=True,
                ),
            )
        finally:
            for pipeline in pipelines:
                runner.run(pipeline.close())
