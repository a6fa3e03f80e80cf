"""What Locust loads: the two kinds of users, and where the run begins and ends.

`python -m loadtest` starts it headless and judges the result; `locust -f loadtest/locustfile.py`
works too, with Locust's own options.
"""

import random
from typing import Any, ClassVar

import gevent
from locust import FastHttpUser, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from loadtest.browser import Browser, LoginFailed
from loadtest.generator import Generator
from loadtest.progress import report_progress
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
from loadtest.verdict import raised

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
    generator: ClassVar[Generator]
    created: ClassVar[int] = 0

    def new_visitor(self) -> Visitor:
        """A browser with its own cookie jar and its own dice."""
        LoadUser.created += 1
        options, number = self.generator.options, LoadUser.created
        dice = random.Random(f"{options.seed} {number}")
        name = f"load{options.seed}-{number}"
        slow = "slow" not in self.generator.without
        return Visitor(self.new_browser(), options.password, dice, name, self.new_browser, slow)

    def new_browser(self) -> Browser:
        """One with an empty cookie jar."""
        return Browser(self.environment, self.generator.recorder, self.host or "")


class Closed(LoadUser):
    """A user who plays scenario after scenario, each once before any comes again."""

    wait_time = constant(0)
    seated: ClassVar[int] = 0

    def on_start(self) -> None:
        """Start at another card than the neighbour, so that even a short run plays all of them."""
        self.visitor = self.new_visitor()
        left_out = [NEEDED.get(name) for name in self.generator.without]
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
        generator, options = self.generator, self.generator.options
        visitors = [self.new_visitor() for _ in range(SESSIONS)]
        serve_arrivals(
            visitors, generator.recorder, options.rate, options.seed, lambda: generator.stopping
        )


def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=50, help="open arrivals a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--password", default="demo", env_var="DEMO_PASSWORD", is_secret=True)
    parser.add_argument("--without", default="", help="what the stack lacks: slow,data,devices")
    parser.add_argument("--idle-seconds", type=float, default=1800)
    parser.add_argument("--absolute-seconds", type=float, default=43200)
    parser.add_argument("--out", default=str(RESULTS), help="folder for history and summary")


def _begin(environment: Environment, **_: Any) -> None:
    LoadUser.generator = Generator(environment)


def _start(environment: Environment, **_: Any) -> None:
    gevent.get_hub().NOT_ERROR += (LoginFailed,)  # raised where it is waited for: no trace needed
    LoadUser.generator.start()
    options = environment.parsed_options
    gevent.spawn(report_progress, LoadUser.generator, options.run_time if options else 0)


def _stop(**_: Any) -> None:
    LoadUser.generator.stop()


def _error(exception: BaseException, **_: Any) -> None:
    LoadUser.generator.error(exception)


def _finish(environment: Environment, **_: Any) -> None:
    """The exit code is only ever raised: setting 0 would hide failures that Locust counted."""
    if environment.runner is not None:
        environment.runner.quit()
    found = LoadUser.generator.finish()
    environment.process_exit_code = raised(environment.process_exit_code, found)


for event, listener in (
    (events.init_command_line_parser, _add_options),
    (events.init, _begin),
    (events.test_start, _start),
    (events.test_stopping, _stop),
    (events.user_error, _error),
    (events.quitting, _finish),
):
    event.add_listener(listener)  # type: ignore[no-untyped-call]  # Locust does not type it
