"""What Locust loads: the users with their scenarios, and where a run begins and ends.

`python -m loadtest` starts it headless and judges the result. `locust -f loadtest/locustfile.py` works too,
with Locust's own options, from any folder: the settings of `python -m loadtest --help` are taken from the
environment, and it ends with the same verdict. A user class of your own may stand below.
"""

import os
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gevent
from locust import FastHttpUser, constant, events, task
from locust.env import Environment
from locust.event import EventHook
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

sys.path.insert(0, str(Path(__file__).parents[1]))  # started from another folder

from loadtest.load.browser import Browser, LoginFailed, Session
from loadtest.load.conductor import Accompany, Conductor, watch_parent
from loadtest.load.distributed import Master, Worker
from loadtest.load.figures import add_tabs
from loadtest.load.generator import Generator
from loadtest.plan import ATTACHED, VARIABLE, Plan
from loadtest.scenarios import Scenario, Visitor
from loadtest.scenarios.arrivals import SESSIONS, serve_arrivals
from loadtest.scenarios.browse import browse, come_back, load_pages
from loadtest.scenarios.devices import end_devices
from loadtest.scenarios.fields import change_fields
from loadtest.scenarios.logins import log_in_again, log_in_too_often, race_logins, race_logout
from loadtest.scenarios.refusals import be_refused
from loadtest.scenarios.rests import LateLooks, long_lives
from loadtest.settings import read_settings
from loadtest.verdict.verdict import Code

DECK: tuple[Scenario, ...] = (
    browse,
    end_devices,
    load_pages,
    race_logout,
    change_fields,
    be_refused,
    log_in_again,
    race_logins,
    come_back,
    log_in_too_often,
    browse,
    load_pages,
)
NEEDED = {"data": (change_fields,), "devices": (end_devices,)}  # which endpoint for which scenario
AT_ONCE = {end_devices: 4, race_logins: 3}  # sessions of one user
PAUSE_AFTER_REFUSAL_SECONDS = 0.5
SETTINGS = read_settings([], os.environ)


class Closed(FastHttpUser):
    """A user who plays scenario after scenario, each once before any comes again."""

    host = SETTINGS.host
    wait_time = constant(0)
    conductor: ClassVar[Conductor]
    accompany: ClassVar[Accompany]  # what runs beside the users
    seated: ClassVar[int] = 0
    looks: ClassVar[LateLooks | None] = None
    browser: ClassVar[type[Browser]] = Browser

    def on_start(self) -> None:
        """Start at another card than the neighbour, so that even a short run plays all of them."""
        if not self.conductor.running:
            raise StopUser  # there is no stack to test
        self.visitor = make_visitor(self.generator(), self.browser)
        self.deck = deck_for(self.visitor)
        turn = Closed.seated % len(self.deck)
        Closed.seated += 1
        self.cards = self.deck[turn:] + self.deck[:turn]

    @task
    def live_one_session(self) -> None:
        """One card: one session from login to logout."""
        if self.generator().is_over():
            raise StopUser  # Locust ends users who waited at that moment, whatever they do by now
        if not self.cards:
            self.cards = self.visitor.random.sample(self.deck, len(self.deck))
        try:
            self.cards.pop(0)(self.visitor)
        except LoginFailed:
            gevent.sleep(PAUSE_AFTER_REFUSAL_SECONDS)
        gevent.sleep(self.generator().pause)

    @classmethod
    def generator(cls) -> Generator:
        """That of the run under way."""
        generator = cls.conductor.generator
        assert generator is not None
        return generator


def deck_for(visitor: Visitor) -> list[Scenario]:
    """The scenarios that this stack has all endpoints and enough sessions a user for."""
    left_out = {scenario for name in visitor.missing for scenario in NEEDED.get(name, ())}
    if not visitor.most_sessions:
        left_out.add(log_in_too_often)
    else:
        left_out |= {card for card, sessions in AT_ONCE.items() if sessions > visitor.most_sessions}
    return [scenario for scenario in DECK if scenario not in left_out]


def make_visitor(generator: Generator, browser: type[Browser] = Browser) -> Visitor:
    """One with its own cookie jar and its own seeded choices."""
    plan, number = Closed.conductor.plan, generator.next_visitor()
    assert plan is not None
    seed = plan.settings["seed"]
    host = Closed.conductor.environment.host or plan.settings["host"]
    return Visitor(
        name=f"{plan.users}-{number}",
        password=plan.password,
        random=random.Random(f"{seed} {number}"),
        new_browser=partial(
            browser, Closed.conductor.environment, generator.recorder, host.rstrip("/")
        ),
        look_later=look_later,
        missing=frozenset(plan.survey.missing),
        most_sessions=plan.settings["session_max_per_user"],
        lifetimes=plan.survey.lifetimes,
    )


def look_later(session: Session) -> None:
    """Ask an ended session once more, in a second or later."""
    if Closed.looks is not None:
        Closed.looks.look_later(session)


def companions(generator: Generator) -> Iterator[Callable[[], None]]:
    """What runs beside the users: late looks in every process, arrivals and long lives in one of them."""
    plan, visitor = Closed.conductor.plan, make_visitor(generator)
    assert plan is not None
    looks = Closed.looks = LateLooks(visitor.browser, visitor)
    yield partial(looks.run, generator.is_over)
    if not generator.first:
        return
    yield from long_lives(partial(make_visitor, generator), generator.is_over)
    if rate := plan.settings["rate"]:
        visitors = [make_visitor(generator) for _ in range(SESSIONS)]
        seed = plan.settings["seed"]
        yield partial(serve_arrivals, visitors, generator.recorder, rate, seed, generator.is_over)


Closed.accompany = companions


def _conductor(environment: Environment) -> Conductor:
    """The one that fits this process."""
    text = os.environ.get(VARIABLE)
    plan = Plan.from_json(text) if text else None
    kinds: dict[type, type[Conductor]] = {MasterRunner: Master, WorkerRunner: Worker}
    kind = kinds.get(type(environment.runner), Conductor)
    return kind(environment, SETTINGS, plan, Closed.accompany)


def _fill_in(options: Any) -> None:
    """What Locust's command line leaves open is as in the settings; its web form shows it."""
    options.num_users = options.num_users or SETTINGS.users
    options.spawn_rate = options.spawn_rate or max(10, options.num_users)
    options.run_time = options.run_time or SETTINGS.duration


def _begin(environment: Environment, **_: Any) -> None:
    _fill_in(environment.parsed_options)
    gevent.get_hub().NOT_ERROR += (LoginFailed,)  # raised where it is waited for: no trace needed
    conductor = Closed.conductor = _conductor(environment)
    if os.environ.get(ATTACHED):
        gevent.spawn(watch_parent)
    if conductor.judges and conductor.options.headless and not conductor.look_round():
        conductor.say()
        sys.exit(Code.NOT_REACHABLE)
    if environment.web_ui is not None:
        add_tabs(environment.web_ui, lambda: (conductor.figures(), conductor.verdict))
    # Locust asks the last listener first. These come after those of its runner, which would cut off
    # the messages between processes before a run has come to its end.
    _listen(events.test_start, lambda **_: conductor.start())
    _listen(events.test_stopping, lambda **_: conductor.load_ends())
    _listen(events.test_stop, lambda **_: conductor.load_ended())
    _listen(events.quitting, lambda **_: conductor.quit())
    _listen(events.quit, lambda **_: conductor.say())


def _error(exception: BaseException, **_: Any) -> None:
    if Closed.conductor.generator is not None:
        Closed.conductor.generator.error(exception)


def _request(
    exception: BaseException | None, context: dict[str, Any], response: Any = None, **_: Any
) -> None:
    """Requests of user classes that are not of this load test: they take turns, and nobody checks them."""
    generator = Closed.conductor.generator
    if not context and generator is not None:
        generator.others_failed += exception is not None
        worker = (getattr(response, "headers", None) or {}).get("X-Served-By")
        generator.others_served.update([worker] if isinstance(worker, str) else [])


def _listen(event: EventHook, listener: Callable[..., None]) -> None:
    event.add_listener(listener)  # type: ignore[no-untyped-call]  # Locust does not type it


_listen(events.init, _begin)
_listen(events.user_error, _error)
_listen(events.request, _request)
