"""Logging in and out, and staying on this site while doing so."""

from __future__ import annotations

import math
from urllib.parse import quote

from app.accounts import AccountsBusy, normalise
from app.sessions import Session, StoreUnavailable
from app.settings import Settings
from app.throttle import Attempt

from .base import RETRY_AFTER_SECONDS, BaseHandler

KEEP_AT_LOGIN = ("theme",)  # of the same user's, or nobody's, older session; all else begins anew
# "Stay logged in": 30 days is the most that NIST SP 800-63B allows without a second factor, to which ASVS 5.0
# 7.1.1 refers; and a browser that was not used for a week is logged out.
STAY_ABSOLUTE_SECONDS = 30 * 86400
STAY_IDLE_SECONDS = 7 * 86400
MAX_NEXT_CHARACTERS = 2048
# Said of a name that nobody has, too: it must not tell which names exist.
TOO_MANY = "Too many wrong passwords for this name. Try again in {seconds} s."
WRONG = "This name and password do not match."  # one text: it must not tell which of them is wrong
# Shown after a stream was told this reason.  No other text is: the reason comes back in the address,
# which anybody could have written.
WHY_ENDED = {
    "logout": "You are logged out: this session was ended in another tab or window.",
    "device": "This session was ended from another of your devices.",
    "administrator": "An administrator has ended this session.",
    "password": "The password of this account was changed, so its sessions have ended. Log in with the new one.",
    "account": "This account was removed, so its sessions have ended.",
    "login": "Somebody logged in again in this browser, so the previous session has ended.",
    "limit": "You have logged in on too many devices at once, so the oldest session has ended.",
    "expired": "This session has expired: it was not used for a while, or it reached its longest lifetime.",
    "unreadable": "This session could not be read any more and was ended.",
    "ended": "This session has ended.",
}

LOGGED_OUT = "You are logged out. The session is deleted, so no worker knows it any more."
ENDED_ON = ("/", "/devices", "/logout")  # the pages with a button that ends this session


class _Form(BaseHandler):
    """Its form is public: it is shown while Redis is away, too, to a visitor it cannot look up."""

    session_use = "if given"
    is_unknown = False  # whether Redis did not say who this is

    async def load_session(self) -> Session | None:
        try:
            return await super().load_session()
        except StoreUnavailable:
            if self.request.method not in ("GET", "HEAD"):
                raise
            self.is_unknown = True
            return None


class Login(_Form):
    async def get(self) -> None:
        if self.logged_in and not self._again:
            self.redirect(local_path(self.get_argument("next", "/")))
            return
        self._form(self.get_argument("next", "/"))

    async def post(self) -> None:
        """Log in afresh, whoever was logged in before: a new id, and the old session dies."""
        given = self._as_received("username")
        name = normalise(given)
        if name is None:
            self._note("login_refused", given, reason="no name")
            self._refuse(401, WRONG)
            return
        address = self.request.remote_ip or ""
        attempt = self.services.throttle.attempt(name, address, self.session)
        if seconds := math.ceil(await attempt.wait()):
            self._note("login_delayed", name, reason="tries", seconds=seconds)
            self.set_header("Retry-After", str(seconds))
            self._refuse(429, TOO_MANY.format(seconds=seconds))
        elif await self._is_right(name, attempt):
            await attempt.succeeded()
            await self._begin_session(name, address)
        else:
            self._note("login_refused", name, reason="wrong")
            await attempt.failed()
            self._refuse(401, WRONG)

    @property
    def _again(self) -> bool:
        """Whether a visitor who is logged in gives the password once more, and goes on with the same data."""
        return self.logged_in and bool(self.get_argument("again", ""))

    async def _is_right(self, name: str, attempt: Attempt) -> bool:
        try:
            return await self.services.accounts.verify(name, self._as_received("password"))
        except AccountsBusy:
            self._note("login_delayed", name, reason="busy", seconds=RETRY_AFTER_SECONDS)
            await attempt.give_back()
            raise

    @property
    def _notice(self) -> str | None:
        """Why there is no session any more, if that is known.

        Only a button that ends this session leads from one of those pages to here without a query.
        """
        if self.request.method != "GET" or self.logged_in:
            return None
        page = self.request.headers.get("Referer", "").partition("?")[0].partition("//")[2]
        if not self.request.query and page in [self.request.host + path for path in ENDED_ON]:
            return LOGGED_OUT
        return WHY_ENDED.get(self.get_query_argument("ended", ""))

    def _note(self, event: str, name: str, **facts: object) -> None:
        self.services.audit.write(event, self, user=name, **facts)

    def _as_received(self, field: str) -> str:
        """A field of the form.  Tornado's get_body_argument makes control characters spaces (ASVS 5.0 6.2.8)."""
        values = self.request.body_arguments.get(field, [b""])
        return self.decode_argument(values[-1], field)

    async def _begin_session(self, name: str, address: str) -> None:
        limits, stay = self.services.sessions.limits, bool(self.get_body_argument("stay", ""))
        again = self._again and self.visitor.user == name
        stay = self.visitor.lasting if again else stay
        lasting = max(STAY_ABSOLUTE_SECONDS, limits.absolute_seconds) if stay else None
        session_id = await self.services.sessions.create(
            name,
            replacing=self.session,
            keep=None if again else KEEP_AT_LOGIN,
            agent=self.request.headers.get("User-Agent", ""),
            address=address,
            idle_seconds=max(STAY_IDLE_SECONDS, limits.idle_seconds) if stay else None,
            absolute_seconds=lasting,
        )
        self.services.cookie.write(self, session_id, lasting)
        self.redirect(local_path(self.get_body_argument("next", "/")))

    def _refuse(self, status: int, error: str) -> None:
        self.set_status(status)
        self._form(self.get_body_argument("next", "/"), error=error)

    def _form(self, next_path: str, error: str | None = None) -> None:
        self.render(
            "login.html",
            error=error,
            notice=self._notice,
            name=self.visitor.user if self._again else self.get_body_argument("username", ""),
            again=self._again,
            next=local_path(next_path),
            demo_hint=demo_hint(self.services.settings),
        )


class Logout(_Form):
    def get(self) -> None:
        """A button.  A GET that ended the session would let any link or prefetch log visitors out."""
        user = self.session.user if self.session and self.logged_in else None
        self.render("logout.html", user=user, unknown=self.is_unknown)

    async def post(self) -> None:
        """End the session in Redis first; the cookie goes only when that is certain."""
        if self.session is not None:
            await self.services.sessions.destroy(self.session)
            self.services.cookie.clear(self)
        self.redirect("/login")


def local_path(text: str) -> str:
    """`text` if it is a path on this site, else `/`.

    Browsers read `//host` and `/\\host` as another site and drop tabs and line breaks, so that
    `/<tab>/host` becomes one too; anything but a plain path is refused instead of repaired.
    """
    plain = text.startswith("/") and not text.startswith("//") and "\\" not in text
    if not plain or not text.isprintable() or len(text) > MAX_NEXT_CHARACTERS:
        return "/"
    return quote(text, safe="/?&=%#:;,@!$'()*+~[]-._")


def demo_hint(settings: Settings) -> str | None:
    """What the form tells a first visitor; a changed demo password is not given away."""
    if settings.demo_password is None:
        return None
    shown = "password demo" if settings.demo_password == "demo" else "the demo password"
    return f"Any name with {shown} logs in."
