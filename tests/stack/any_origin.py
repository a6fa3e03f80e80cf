"""A worker that is broken on purpose: it takes forms from any site.  For a test that must notice it."""

from __future__ import annotations

from typing import Any

from tornado.web import Application

from app.web import make_app
from lab.mutants.workers.start import start


def careless(*given: Any, **named: Any) -> Application:
    """The application with its check of origins off."""
    application = make_app(*given, **named)
    application.settings["cross_origin_protection"] = False
    return application


if __name__ == "__main__":
    start(make_app=careless)
