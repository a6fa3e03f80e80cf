"""The route list and Tornado's settings, nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from tornado.httputil import (
    ParseBodyConfig,
    ParseMultipartConfig,
    ParseUrlEncodedConfig,
    set_parse_body_config,
)
from tornado.template import Loader
from tornado.web import Application

from app.handlers import alerts, api, devices, events, health, login, main, slow
from app.handlers.base import BaseHandler, NotFound, Services

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
PART = re.compile(r"\(.*?\)")  # of a route: what differs from request to request


def make_app(services: Services) -> Application:
    """The application of one worker."""
    routes: list[tuple[str, type[BaseHandler]]] = [
        (r"/", main.Main),
        (r"/login", login.Login),
        (r"/logout", login.Logout),
        (r"/help", main.Help),
        (r"/api/session", api.SessionInfo),
        (r"/api/visits", api.Visits),
        (r"/api/data/([^/]+)", api.Data),
        (r"/api/data/([^/]+)/add", api.DataAdd),
        (r"/api/alerts", alerts.Alert),
        (r"/events", events.Events),
        (r"/devices", devices.DevicesPage),
        (r"/api/devices", devices.DevicesJson),
        (r"/devices/([0-9a-f]{16})/end", devices.EndDevice),
        (r"/devices/end-others", devices.EndOthers),
        (r"/devices/end-all", devices.EndAll),
        (r"/healthz", health.Health),
        (r"/livez", health.Live),
        (r"/readyz", health.Ready),
        (r"/metrics", health.MetricsText),
    ]
    if services.settings.demo_endpoints:
        routes.append((r"/slow", slow.Slow))
    handlers = [handler for _, handler in routes]
    services.metrics.routes = {handler: shown(path) for path, handler in routes}
    _parse_forms_of(handlers)
    return Application(
        routes,
        body_bytes=max(handler.body_bytes for handler in handlers),
        services=services,
        default_handler_class=NotFound,
        template_path=str(TEMPLATES),
        template_loader=_templates(),
        static_path=str(HERE / "static"),  # for static_url's ?v= hashes; nginx serves the files
        # Cross-site POSTs are refused by what the browser says of itself (Sec-Fetch-Site, Origin):
        # no token to lose between workers.  ASVS 5.0 3.5.1.
        cross_origin_protection=True,
        # nginx writes the access log, with the same request id; here only the watchdog is told.
        log_function=lambda handler: services.worker.note_progress(),
    )


def shown(path: str) -> str:
    """A route as the figures name it."""
    return PART.sub("<part>", path)


def _templates() -> Loader:
    """All templates, read now: one that is edited later never meets handlers that are older."""
    loader = Loader(str(TEMPLATES))
    for path in TEMPLATES.glob("*.html"):
        loader.load(path.name)
    return loader


def _parse_forms_of(handlers: list[type[BaseHandler]]) -> None:
    """Have Tornado parse no larger forms than the largest that a handler takes; one setting holds for all.

    Multipart parsing is attack surface, so it is off unless a handler takes files.
    """
    fields = max(handler.form_fields for handler in handlers)
    files = any(handler.takes_files for handler in handlers)
    set_parse_body_config(
        ParseBodyConfig(
            multipart=ParseMultipartConfig(enabled=files, max_parts=fields),
            urlencoded=ParseUrlEncodedConfig(max_arguments=fields),
        )
    )
