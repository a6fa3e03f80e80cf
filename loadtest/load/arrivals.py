"""Open arrivals: requests that are due at seeded random moments, whether or not the stack keeps up.

A closed user waits for an answer before asking again and so goes easy on a slow server; arrivals
do not. The same seed gives the same moments.
"""

import random
from collections.abc import Iterator


def due_times(rate: float, seed: int) -> Iterator[float]:
    """Moments of an endless Poisson process, in seconds from its start; `rate` is per second."""
    rng = random.Random(f"arrivals {seed}")
    moment = 0.0
    while True:
        moment += rng.expovariate(rate)
        yield moment
