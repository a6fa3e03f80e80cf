"""A stack in one process: sessions, workers and rotation, right or broken in one chosen way.

    python double.py FAULT      prints the port it listens on

It serves the paths that the load test uses. A worker is only a name here; the store answers after
a pause, so that requests overlap as they do around a real one.
"""

import asyncio
import json
import secrets
import sys
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from html import escape
from itertools import count, cycle
from random import Random
from typing import Any
from urllib.parse import unquote

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

WORKERS = ("w1", "w2", "w3", "w4")
PAUSE_SECONDS = 0.002
CACHE_SECONDS = 1.0
SURVEYED = 55  # with so many requests the load test looks around before the run
PASSWORD = "demo"
CAP = 5
IDLE_SECONDS, ABSOLUTE_SECONDS, TOUCH_SECONDS = 3.0, 6.0, 0.3
RENEW_SECONDS = 1.0
GONE_SECONDS = 1.0  # after which a fault strikes that needs a while


def now() -> float:
    """The clock of the store."""
    return asyncio.get_running_loop().time()


@dataclass
class Stored:
    """One session."""

    user: str
    agent: str = ""
    sid: str = ""
    ref: str = field(default_factory=lambda: secrets.token_hex(8))
    visits: int = 0
    version: int = 1
    fields: dict[str, Any] = field(default_factory=dict)
    deleted: dict[str, Any] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    ended: str = ""  # how, once it is over
    created: float = field(default_factory=now)
    absolute_from: float = field(default_factory=now)
    touched: float = field(default_factory=now)
    renewed: float = field(default_factory=now)
    home: str = ""  # the worker that made it
    by_worker: Counter[str] = field(default_factory=Counter)

    def left(self) -> tuple[float, float]:
        """Seconds until the idle and the absolute timeout."""
        absolute = self.absolute_from + ABSOLUTE_SECONDS - now()
        return min(self.touched + IDLE_SECONDS - now(), absolute), absolute


@dataclass
class World:
    """What all workers share."""

    fault: str
    sessions: dict[str, Stored] = field(default_factory=dict)
    ended: dict[str, list[Stored]] = field(default_factory=lambda: defaultdict(list))  # by user
    forward: dict[str, tuple[str, float]] = field(default_factory=dict)  # of renewed ids
    rotation: Any = field(default_factory=lambda: cycle(range(len(WORKERS))))
    requests: Any = field(default_factory=count)
    random: Random = field(default_factory=lambda: Random(1))
    last_user: str = ""
    last_cookie: str = ""
    renamed: dict[str, str] = field(default_factory=dict)  # old id: the id that a login gave for it
    caches: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    pages: dict[str, tuple[float, str]] = field(default_factory=dict)

    def end(self, sid: str, how: str) -> None:
        """The session is over."""
        stored = self.sessions.pop(sid, None)
        if stored is not None:
            stored.ended = how
            self.ended[stored.user].append(stored)

    def of(self, user: str) -> list[tuple[str, Stored]]:
        """The user's sessions, the oldest first."""
        return [(sid, stored) for sid, stored in self.sessions.items() if stored.user == user]

    def next_worker(self, cookie: str, number: int) -> str:
        """Round robin, unless the fault is in the balancing."""
        turn = next(self.rotation)
        if self.fault == "sticky":
            turn = zlib.crc32(cookie.encode()) % 4
        if self.fault == "worker missing":
            turn %= 3
        if self.fault == "random":
            turn = self.random.randrange(4)
        if self.fault == "uneven" and number % 10 == 0:
            turn = 0
        return WORKERS[turn]


class Handler(RequestHandler):
    """One request on one worker."""

    open_to_all = False

    def initialize(self, world: World) -> None:
        self.world = world

    async def prepare(self) -> None:
        self.sid = self.get_cookie("sid") or ""
        self.number = next(self.world.requests)
        self.worker = self.world.next_worker(self.sid, self.number)
        self.set_header("X-Served-By", self.worker)
        await asyncio.sleep(PAUSE_SECONDS * (1 + self.number % 3))
        fault = self.world.fault
        if fault == "one worker is slow" and self.worker == "w3":
            await asyncio.sleep(0.04)
        self.stored = self.find()
        if self.sid and fault == "a cache gives others' cookies" and self.number % 40 == 39:
            self.set_cookie("sid", self.world.last_cookie or self.sid, expires_days=None)
        self.world.last_cookie = self.sid if self.stored else self.world.last_cookie
        if (fault == "errors" and self.number % 50 == 49) or (
            fault == "one worker fails" and self.number % 80 == 5 and self.worker == "w2"
        ):
            self.fail(500)
        elif fault == "dies" and self.number >= SURVEYED:
            self.fail(503)
        elif not self.open_to_all and not self.known():
            self.fail(401)
        elif self.stored is not None:
            self.use(self.stored)

    def find(self) -> Stored | None:
        """The live session behind the cookie; a renewed id leads to its successor for a while."""
        sid, until = self.world.forward.get(self.sid, (self.sid, now() + 1))
        fault = self.world.fault
        if fault == "forged cookies work" and self.sid and sid not in self.world.sessions:
            sid = next((known for known in self.world.sessions if known[:8] == sid[:8]), sid)
        stored = self.world.sessions.get(sid) if now() < until else None
        self.sid = sid if stored else self.sid
        if stored is None:
            return None
        idle, absolute = stored.left()
        rests = fault == "sessions vanish at rest" and stored.touched < now() - GONE_SECONDS
        expired = fault != "no timeout ends a session" and min(idle, absolute) <= 0
        if rests or expired:
            self.world.end(sid, "timeout")
            return None
        if fault == "fields vanish at rest" and stored.touched < now() - GONE_SECONDS:
            stored.fields.clear()
        if fault == "deleted fields come back" and stored.created < now() - GONE_SECONDS:
            stored.fields |= stored.deleted
        return stored

    def use(self, stored: Stored) -> None:
        """Using a session moves its idle timeout, and gives it a new id once it is old."""
        fault = self.world.fault
        touches = fault != "one worker does not touch" or self.worker != "w4"
        if touches and now() - stored.touched >= TOUCH_SECONDS:
            stored.touched = now()
            if fault == "use moves the absolute timeout":
                stored.absolute_from = now()
        if fault == "renews" and now() - stored.renewed > RENEW_SECONDS:
            self.renew(stored)

    def renew(self, stored: Stored) -> None:
        """The old id is good for a while."""
        stored.renewed = now()
        sid = secrets.token_hex(8)
        self.world.forward[self.sid] = (sid, now() + RENEW_SECONDS)
        self.world.sessions[sid] = self.world.sessions.pop(self.sid)
        self.sid = sid
        self.set_cookie("sid", sid, expires_days=None)

    def known(self) -> bool:
        """Whether this request is logged in."""
        fault, stored = self.world.fault, self.stored
        if fault == "worker memory" and self.sid and self.worker != "w1":
            return self.number < SURVEYED
        if fault == "one worker has another key" and stored and self.number >= SURVEYED:
            return (self.worker == "w2") == (stored.home == "w2")
        if fault == "forgets sometimes" and self.number % 50 == 49:
            return False
        return stored is not None

    def fail(self, status: int) -> None:
        if status == 401 and self.world.fault == "a miss clears the cookie":
            self.clear_cookie("sid")
        if status == 401 and not self.request.path.startswith(("/api", "/slow")):
            self.redirect("/login?next=%2F")
            return
        self.set_status(status)
        self.finish({"error": "broken on purpose"})


class Login(Handler):
    open_to_all = True

    def get(self) -> None:
        self.finish("form")

    def post(self) -> None:
        fault, world = self.world.fault, self.world
        user = self.get_body_argument("username")
        if self.get_body_argument("password") != PASSWORD and fault != "any password":
            if fault == "renews" and self.stored is not None:
                self.renew(self.stored)
            self.set_status(401)
            self.finish("form")
            return
        keep = self.sid if fault == "id kept at login" and self.sid in world.sessions else ""
        if fault != "old session survives login":
            world.end(self.sid, "login")
        self.enforce_cap(user)
        sid = keep or secrets.token_hex(8)
        if fault == "racing logins share an id" and self.sid:
            sid = world.renamed.setdefault(self.sid, sid)
        if fault == "login revives the old session":
            for revived in world.ended[user]:
                if revived.ended == "logout":
                    world.sessions[revived.sid] = revived
        stored = Stored(user, self.request.headers.get("User-Agent", ""), sid=sid, home=self.worker)
        if fault == "a new session has the old fields" and world.ended[user]:
            stored.fields = dict(world.ended[user][-1].fields)
        world.sessions[sid] = stored
        self.set_cookie("sid", sid, expires_days=None, secure=fault == "secure cookie")
        self.redirect("/")

    def enforce_cap(self, user: str) -> None:
        """The oldest sessions go."""
        mine = self.world.of(user)
        if self.world.fault == "a login ends the others":
            mine = mine[-1:] * CAP if mine else []
        if self.world.fault == "cap ends the newest":
            mine.reverse()
        if self.world.fault != "no cap" and len(mine) >= CAP:
            self.world.end(mine[0][0], "cap")


class Logout(Handler):
    open_to_all = True

    def post(self) -> None:
        fault = self.world.fault
        if fault == "logout ends all" and self.stored:
            for sid, _ in self.world.of(self.stored.user):
                self.world.end(sid, "logout")
        if fault != "logout forgets Redis":
            self.world.end(self.sid, "logout")
        if fault != "logout leaves the cookie":
            self.clear_cookie("sid")
        self.redirect("/login")


class Page(Handler):
    async def get(self) -> None:
        assert self.stored is not None
        self.world.last_user = self.stored.user
        await asyncio.sleep(PAUSE_SECONDS)
        shared = self.world.fault == "user in a global"
        user = self.world.last_user if shared else self.stored.user
        kept_at, page = self.world.pages.get(self.sid, (-9.0, ""))
        if self.world.fault != "pages are cached" or now() - kept_at > CACHE_SECONDS:
            idle, absolute = (int(seconds) for seconds in self.stored.left())
            page = (
                f"<h1>What&#x27;s up, {escape(user)}?</h1>"
                f'<dd data-field="visits">{self.stored.visits}</dd>'
                f'<dd data-field="version">{self.stored.version}</dd>'
                f'<span data-left="idle_expires_in" data-seconds="{idle}"></span>'
                f'<span data-left="absolute_expires_in" data-seconds="{absolute}"></span>'
            )
            self.world.pages[self.sid] = (now(), page)
        self.finish(page)


class Session(Handler):
    def get(self) -> None:
        assert self.stored is not None
        idle, absolute = self.stored.left()
        fault = self.world.fault
        self.finish(
            {
                "user": self.stored.user,
                "visits": self.visits(),
                "version": self.stored.version,
                "idle_expires_in": -1 if fault == "no idle timeout" else idle,
                "absolute_expires_in": absolute,
            }
        )

    def visits(self) -> int:
        """The counter, or what this worker's cache still believes."""
        assert self.stored is not None
        if self.world.fault == "read cache":
            key = (self.worker, self.sid)
            if now() - self.world.caches.get(key, (-9.0, 0))[0] > CACHE_SECONDS:
                self.world.caches[key] = (now(), self.stored.visits)
            return self.world.caches[key][1]
        if self.world.fault == "loses the last write":
            return max(0, self.stored.visits - 1)
        return self.stored.visits


class Visits(Handler):
    async def post(self) -> None:
        stored, fault = self.stored, self.world.fault
        assert stored is not None
        operation = json.loads(self.request.body)["op"]
        if operation in stored.operations and fault != "repeats count again":
            self.finish({"visits": stored.operations[operation]})
            return
        if fault == "blind write":
            before = stored.visits
            await asyncio.sleep(PAUSE_SECONDS)
            stored.visits = before + 1
        elif fault == "each worker counts":
            stored.by_worker[self.worker] += 1
            stored.visits = stored.by_worker[self.worker]
        elif fault == "one worker starts anew" and self.worker == "w4":
            self.finish({"visits": 1})
            return
        elif fault != "loses one write in a hundred" or self.world.random.random() > 0.01:
            stored.visits += 2 if fault == "applies twice" else 1
        stored.version += fault != "visits leave the version"
        stored.operations[operation] = stored.visits
        self.finish({"visits": stored.visits})


class Slow(Handler):
    async def get(self) -> None:
        assert self.stored is not None
        await asyncio.sleep(int(self.get_query_argument("ms")) / 1000)
        if self.world.fault == f"save re-creates after {self.stored.ended}":
            self.world.sessions[self.sid] = self.stored
        self.finish({})


class Data(Handler):
    def get(self, key: str) -> None:
        key = self.key(key)
        assert self.stored is not None
        if key not in self.stored.fields:
            self.fail(404)
        else:
            value = self.spoilt(self.stored.fields[key])
            self.finish({"key": key, "value": value, "version": self.stored.version})

    def key(self, key: str) -> str:
        """As it was sent, or as some stacks see it."""
        return unquote(key).lower() if self.world.fault == "keys lose their case" else unquote(key)

    def spoilt(self, value: Any) -> Any:
        """A value as a stack that is careless with it gives it back."""
        fault = self.world.fault
        if fault == "long values are cut" and isinstance(value, str):
            return value[:1000]
        if fault == "numbers become texts" and type(value) is float:
            return str(value)
        if fault == "only ASCII survives" and isinstance(value, str):
            return value.encode("ascii", "replace").decode()
        return value

    async def put(self, key: str) -> None:
        assert self.stored is not None
        if self.world.fault == "put saves other notes too":
            notes = {name: n for name, n in self.stored.fields.items() if name != "counter"}
            await asyncio.sleep(PAUSE_SECONDS)
            self.stored.fields |= notes
        value = json.loads(self.request.body)
        if self.world.fault != "nothing is written for nothing" or value:
            self.stored.fields[self.key(key)] = value
        self.stored.version += 1
        self.finish({"key": key, "value": value, "version": self.stored.version})

    async def delete(self, key: str) -> None:
        assert self.stored is not None
        value = self.stored.fields.pop(self.key(key), None)
        self.stored.deleted[self.key(key)] = value
        self.stored.version += 1
        self.set_status(204)


class DataAdd(Data):
    async def post(self, key: str) -> None:
        assert self.stored is not None
        before = dict(self.stored.fields)
        if self.world.fault in ("add overwrites", "add saves a blob"):
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            before = self.stored.fields
        if self.world.fault == "add saves a blob":
            # What was deleted during the pause is in what was read before it.
            self.stored.fields = before = before | self.stored.fields
        if self.world.fault == "adds always give way" or (key, self.number % 7) == ("counter", 0):
            self.fail(409)
            return
        self.stored.fields[key] = before.get(key, 0) + json.loads(self.request.body)["by"]
        self.stored.version += 1
        self.get(key)


class Devices(Handler):
    def listed(self) -> list[dict[str, Any]]:
        """The user's sessions, as far as the fault lets them be seen."""
        assert self.stored is not None
        fault, own = self.world.fault, self.stored
        mine = [stored for _, stored in self.world.of(own.user)]
        if fault == "a list shows the ended":
            mine += self.world.ended[own.user]
        if fault == "a list forgets one" and len(mine) > 1:
            mine = [stored for stored in mine if stored is own] + mine[2:]
        if fault == "a list names the wrong one" and len(mine) > 1:
            own = next(stored for stored in mine if stored is not own)
        return [
            {"ref": stored.ref, "current": stored is own, "agent": stored.agent} for stored in mine
        ]

    def get(self) -> None:
        if self.request.path.startswith("/api"):
            self.finish({"devices": self.listed()})
            return
        forms = (f'<form action="/devices/{each["ref"]}/end">' for each in self.listed())
        self.finish("".join(forms))


class EndDevices(Handler):
    def post(self, ref: str | None = None) -> None:
        assert self.stored is not None
        fault, own, path = self.world.fault, self.stored, self.request.path
        everyone = path.endswith("end-all") or (fault == "end others ends all" and ref is None)
        for sid, stored in self.world.of(own.user):
            if fault == "end forgets Redis":
                continue
            if stored.ref == ref or everyone or (ref is None and stored is not own):
                self.world.end(sid, "end")
            if fault == "end others leaves one" and path.endswith("others") and stored is not own:
                break
        if not own.ended:
            self.redirect("/devices")
            return
        if fault != "end all leaves the cookie":
            self.clear_cookie("sid")
        self.redirect("/login")


async def main(fault: str) -> None:
    """Serve until killed."""
    given = {"world": World(fault)}
    routes = [
        (r"/login", Login, given),
        (r"/logout", Logout, given),
        (r"/", Page, given),
        (r"/api/session", Session, given),
        (r"/api/visits", Visits, given),
        (r"/slow", Slow, given),
        (r"/api/data/([^/]+)", Data, given),
        (r"/api/data/([^/]+)/add", DataAdd, given),
        (r"/api/devices", Devices, given),
        (r"/devices", Devices, given),
        (r"/devices/end-others", EndDevices, given),
        (r"/devices/end-all", EndDevices, given),
        (r"/devices/([0-9a-f]{16})/end", EndDevices, given),
    ]
    server = HTTPServer(Application(routes, log_function=lambda handler: None))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
