"""A worker that counts and times nothing, for `make bench`: what its figures cost."""

from __future__ import annotations

from tornado.web import RequestHandler

from app.metrics import Durations, Metrics
from lab.mutants.workers.start import start


class Forgetful(Durations):
    def note(self, seconds: float) -> None:
        """Nothing."""


class Uncounted(Metrics):
    def __init__(self) -> None:
        super().__init__()
        self.store_latency = Forgetful(self.store_latency.bounds)

    def answered(self, handler: RequestHandler) -> None:
        """Nothing."""


if __name__ == "__main__":
    start(Metrics=Uncounted)
