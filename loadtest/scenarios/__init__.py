"""What visitors do. Each scenario is one function: the whole life of one session."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from loadtest.load.browser import Browser


@dataclass(slots=True)
class Visitor:
    """Who plays a scenario, and the dice for it."""

    browser: Browser
    password: str
    dice: random.Random
    name: str
    new_browser: Callable[[], Browser]  # another device, with a cookie jar of its own
    slow_writes: bool = True  # whether the stack has the slow demo endpoint
    lives: int = 0

    def new_name(self) -> str:
        """A user name nobody had before, so that a mixed-up identity shows."""
        self.lives += 1
        return f"{self.name}-{self.lives}"


Scenario = Callable[[Visitor], None]
