"""What Locust loads: the two kinds of users, and where the run begins and ends.

`python -m loadtest` starts it headless and judges the result; `locust -f loadtest/locustfile.py`
works too, with Locust's own options.
"""

import random
from collections.abc import Callable
from typing import Any, ClassVar

import gevent
from locust import FastHttpUser, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.event import EventHook
from locust.runners import MasterRunner, WorkerRunner

from loadtest.load.browser import Browser, LoginFailed
from loadtest.load.conductor import Conductor
from loadtest.load.distributed import Master, Worker
from loadtest.load.generator import Generator
from loadtest.load.tabs import add_tabs
from loadtest.scenarios import Scenario, Visitor
from loadtest.scenarios.browse import browse
from loadtest.scenarios.devices import end_devices
from loadtest.scenarios.fields import change_fields
from loadtest.scenarios.login_again import log_in_again
from loadtest.scenarios.login_race import race_logins
from loadtest.scenarios.logout_race import race_logout
from loadtest.scenarios.open_arrivals import SESSIONS, serve_arrivals
from loadtest.scenarios.page import load_pages
from loadtest.settings import RESULTS

DECK: tuple[Scenario, ...] = (
    browse,
    end_devices,
    load_pages,
    race_logout,
    change_fields,
    log_in_again,
    race_logins,
    browse,
    load_pages,
)
NEEDED = {"data": change_fields, "devices": end_devices}  # which endpoint for which scenario
PAUSE_AFTER_REFUSAL_SECONDS = 0.5


class LoadUser(FastHttpUser):
    """What both kinds share: the run they belong to, and a seeded visitor."""

    abstract = True
    conductor: ClassVar[Conductor]
    created: ClassVar[int] = 0

    @classmethod
    def generator(cls) -> Generator:
        """That of the run under way."""
        generator = cls.conductor.generator
        assert generator is not None
        return generator

    def new_visitor(self) -> Visitor:
        """A browser with its own cookie jar and its own dice."""
        LoadUser.created += 1
        options, number = self.conductor.options, f"{self.generator().prefix}{LoadUser.created}"
        dice = random.Random(f"{options.seed} {number}")
        name = f"load{options.seed}-{number}"
        slow = "slow" not in self.conductor.without
        return Visitor(self.new_browser(), options.password, dice, name, self.new_browser, slow)

    def new_browser(self) -> Browser:
        """One with an empty cookie jar."""
        return Browser(self.environment, self.generator().recorder, self.host or "")


class Closed(LoadUser):
    """A user who plays scenario after scenario, each once before any comes again."""

    wait_time = constant(0)
    seated: ClassVar[int] = 0

    def on_start(self) -> None:
        """Start at another card than the neighbour, so that even a short run plays all of them."""
        self.visitor = self.new_visitor()
        left_out = [NEEDED.get(name) for name in self.conductor.without]
        self.deck = [scenario for scenario in DECK if scenario not in left_out]
        turn = Closed.seated % len(self.deck)
        Closed.seated += 1
        self.cards = self.deck[turn:] + self.deck[:turn]

    @task
    def live_one_session(self) -> None:
        """One card: one session from login to logout."""
        if not self.cards:
            self.cards = self.visitor.dice.sample(self.deck, len(self.deck))
        try:
            self.cards.pop(0)(self.visitor)
        except LoginFailed:
            gevent.sleep(PAUSE_AFTER_REFUSAL_SECONDS)


class Arrivals(LoadUser):
    """One dispatcher that sends requests when they are due."""

    fixed_count = 1

    @task
    def dispatch(self) -> None:
        """Runs until the load ends."""
        generator, options = self.generator(), self.conductor.options
        visitors = [self.new_visitor() for _ in range(SESSIONS)]
        serve_arrivals(
            visitors, generator.recorder, options.rate, options.seed, lambda: generator.stopping
        )


def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=50, help="open arrivals a second")
    parser.add_argument("--seconds", type=float, default=0, help="length of the run; 0: no end")
    parser.add_argument(
        "--attached", action="store_true", help="end with the process that began it"
    )
    parser.add_argument("--once", action="store_true", help="workers end after one run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--password", default="demo", env_var="DEMO_PASSWORD", is_secret=True)
    parser.add_argument("--without", default="", help="what the stack lacks: slow,data,devices")
    parser.add_argument("--idle-seconds", type=float, default=1800)
    parser.add_argument("--absolute-seconds", type=float, default=43200)
    parser.add_argument("--out", default=str(RESULTS), help="folder for history and summary")


def _conductor(environment: Environment) -> Conductor:
    """The one that fits this process."""
    if isinstance(environment.runner, MasterRunner):
        return Master(environment, environment.runner)
    if isinstance(environment.runner, WorkerRunner):
        return Worker(environment, environment.runner)
    return Conductor(environment)


def _begin(environment: Environment, **_: Any) -> None:
    gevent.get_hub().NOT_ERROR += (LoginFailed,)  # raised where it is waited for: no trace needed
    conductor = LoadUser.conductor = _conductor(environment)
    if environment.web_ui is not None:
        add_tabs(environment.web_ui, conductor.figures)
    # Locust asks the last listener first. These come after those of its runner, which would cut off
    # the messages between processes before a run has come to its end.
    _listen(events.test_start, lambda **_: conductor.start())
    _listen(events.test_stopping, lambda **_: conductor.load_ends())
    _listen(events.test_stop, lambda **_: conductor.load_ended())
    _listen(events.quitting, lambda **_: conductor.quit())


def _error(exception: BaseException, **_: Any) -> None:
    LoadUser.generator().error(exception)


def _listen(event: EventHook, listener: Callable[..., None]) -> None:
    event.add_listener(listener)  # type: ignore[no-untyped-call]  # Locust does not type it


_listen(events.init_command_line_parser, _add_options)
_listen(events.init, _begin)
_listen(events.user_error, _error)
