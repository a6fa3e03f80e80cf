"""A worker that is broken in one small way, or in several that have nothing to do with each other.

MUTANT_FAULTS='["long texts are cut"]' python -m lab.mutants.workers.faulty --port 8001
"""

from __future__ import annotations

import json
import os

from lab.mutants.catalogue import VARIABLE
from lab.mutants.workers import answers, ends, lifetimes, refusals, revivals, values, writes
from lab.mutants.workers.replaced import Faults, Sessions
from lab.mutants.workers.start import start

FAULTS: Faults = {
    **values.FAULTS,
    **lifetimes.FAULTS,
    **ends.FAULTS,
    **revivals.FAULTS,
    **writes.FAULTS,
    **refusals.FAULTS,
    **answers.FAULTS,
}

if __name__ == "__main__":
    for fault in json.loads(os.environ[VARIABLE]):
        FAULTS[fault]()
    start(RedisSessions=Sessions)
