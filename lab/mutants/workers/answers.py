"""Broken on purpose: pages that are kept, cookies that nobody asked for, answers that are late or fail."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import count
from typing import Any

from app.handlers import api, base, main
from lab.mutants.workers.replaced import Faults, put_in

PAGE_SECONDS = 2.0
SLOW_SECONDS = 0.06
SLOW_IN, SLOWER_SECONDS = 20, 0.6
ONE_IN = 40


def keep_pages() -> None:
    """Each worker keeps a page for two seconds: the API beside it is newer."""
    kept: dict[str, tuple[float, bytes]] = {}

    def broken(self: main.Main, template: str, **names: Any) -> Any:
        at, page = kept.get(self.visitor.digest, (0.0, b""))
        if time.monotonic() - at > PAGE_SECONDS:
            page = self.render_string(template, **names)
            kept[self.visitor.digest] = time.monotonic(), page
        return self.finish(page)

    put_in(main.Main, "render", broken)


def hand_out_cookies() -> None:
    """A cache before the workers stores an answer with its Set-Cookie, and gives it to others."""
    last: list[tuple[str, str]] = []
    get = api.SessionInfo.get

    def broken(self: api.SessionInfo) -> None:
        own = [(name, morsel.value) for name, morsel in self.request.cookies.items()]
        if last and random.random() < 1 / ONE_IN:
            self.set_cookie(*last[0], expires_days=None, path="/")
        last[:] = own[:1]
        get(self)

    put_in(api.SessionInfo, "get", broken)


def sign_anew() -> None:
    """Each answer sets the cookie again: a late one undoes a fresh login."""
    get = api.SessionInfo.get

    def broken(self: api.SessionInfo) -> None:
        cookie = self.services.cookie
        cookie.write(self, cookie.read(self) or "")
        get(self)

    put_in(api.SessionInfo, "get", broken)


def answer_late() -> None:
    """Every answer takes a little longer."""
    prepare = base.BaseHandler.prepare

    async def broken(self: base.BaseHandler) -> None:
        await asyncio.sleep(SLOW_SECONDS)
        await prepare(self)

    put_in(base.BaseHandler, "prepare", broken)


def answer_late_at_times() -> None:
    """One answer in twenty takes much longer."""
    prepare, number = base.BaseHandler.prepare, count()

    async def broken(self: base.BaseHandler) -> None:
        if next(number) % SLOW_IN == 0:
            await asyncio.sleep(SLOWER_SECONDS)
        await prepare(self)

    put_in(base.BaseHandler, "prepare", broken)


def fail_at_times() -> None:
    """One answer in forty is a 500."""
    prepare, number = base.BaseHandler.prepare, count()

    async def broken(self: base.BaseHandler) -> None:
        if not self.request.path.endswith("z") and next(number) % ONE_IN == ONE_IN - 1:
            self.send_error(500)
        else:
            await prepare(self)

    put_in(base.BaseHandler, "prepare", broken)


FAULTS: Faults = {
    "pages are kept": keep_pages,
    "a cache hands out cookies": hand_out_cookies,
    "each answer sets the cookie": sign_anew,
    "answers come late": answer_late,
    "some answers come late": answer_late_at_times,
    "some answers fail": fail_at_times,
}
