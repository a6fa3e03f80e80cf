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
from collections import Counter
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

WORKERS = ("w1", "w2", "w3", "w4")
PAUSE_SECONDS = 0.002
CACHE_SECONDS = 0.3
SURVEYED = 7  # with so many requests the load test looks around before the run


@dataclass
class Stored:
    """One session."""

    user: str
    ref: str = field(default_factory=lambda: secrets.token_hex(8))
    visits: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    ended: str = ""  # how, once it is over
    created: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    by_worker: Counter[str] = field(default_factory=Counter)


@dataclass
class World:
    """What all workers share."""

    fault: str
    sessions: dict[str, Stored] = field(default_factory=dict)
    rotation: Any = field(default_factory=lambda: cycle(range(len(WORKERS))))
    requests: Any = field(default_factory=count)
    last_user: str = ""
    renamed: dict[str, str] = field(default_factory=dict)  # old id: the id that a login gave for it
    caches: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def end(self, sid: str, how: str) -> None:
        """The session is over."""
        stored = self.sessions.pop(sid, None)
        if stored is not None:
            stored.ended = how

    def next_worker(self, cookie: str, number: int) -> str:
        """Round robin, unless the fault is in the balancing."""
        turn = next(self.rotation)
        if self.fault == "sticky":
            turn = zlib.crc32(cookie.encode()) % 4
        if self.fault == "worker missing":
            turn %= 3
        if self.fault == "uneven" and number % 10 == 0:
            turn = 0
        return WORKERS[turn]


class Handler(RequestHandler):
    """One request on one worker."""

    def initialize(self, world: World) -> None:
        self.world = world

    async def prepare(self) -> None:
        self.sid = self.get_cookie("sid") or ""
        self.number = next(self.world.requests)
        self.worker = self.world.next_worker(self.sid, self.number)
        self.set_header("X-Served-By", self.worker)
        await asyncio.sleep(PAUSE_SECONDS * (1 + self.number % 3))
        self.stored = self.world.sessions.get(self.sid)
        fault = self.world.fault
        if fault == "errors" and self.number % 50 == 49:
            self.fail(500)
        elif fault == "dies" and self.number >= SURVEYED:
            self.fail(503)
        elif self.request.path != "/login" and not self.known():
            self.fail(401)

    def known(self) -> bool:
        """Whether this request is logged in."""
        if self.world.fault == "worker memory" and self.sid and self.worker != "w1":
            return self.number < SURVEYED
        if self.world.fault == "forgets sometimes" and self.number % 50 == 49:
            return False
        return self.stored is not None

    def fail(self, status: int) -> None:
        if status == 401 and self.request.path in ("/", "/logout"):
            self.redirect("/login")
            return
        self.set_status(status)
        self.finish({"error": "broken on purpose"})


class Login(Handler):
    def get(self) -> None:
        self.finish("form")

    def post(self) -> None:
        fault, sessions = self.world.fault, self.world.sessions
        keep = self.sid if fault == "id kept at login" and self.sid in sessions else ""
        if fault != "old session survives login":
            self.world.end(self.sid, "login")
        sid = keep or secrets.token_hex(8)
        if fault == "racing logins share an id" and self.sid:
            sid = self.world.renamed.setdefault(self.sid, sid)
        sessions[sid] = Stored(self.get_body_argument("username"))
        self.set_cookie("sid", sid, expires_days=None, secure=fault == "secure cookie")
        self.redirect("/")


class Logout(Handler):
    def post(self) -> None:
        if self.world.fault != "logout forgets Redis":
            self.world.end(self.sid, "logout")
        self.clear_cookie("sid")
        self.redirect("/login")


class Page(Handler):
    async def get(self) -> None:
        assert self.stored is not None
        self.world.last_user = self.stored.user
        await asyncio.sleep(PAUSE_SECONDS)
        shared = self.world.fault == "user in a global"
        user = self.world.last_user if shared else self.stored.user
        self.finish(f"<h1>What&#x27;s up, {user}?</h1>")


class Session(Handler):
    def get(self) -> None:
        assert self.stored is not None
        age = asyncio.get_running_loop().time() - self.stored.created
        fault = self.world.fault
        absolute = 43_200.0 + (age if fault == "absolute timeout slides" else -age)
        self.finish(
            {
                "user": self.stored.user,
                "visits": self.visits(),
                "version": 1,
                "idle_expires_in": -1 if fault == "no idle timeout" else 1799.5,
                "absolute_expires_in": min(absolute, 43_200.0) if age < 0.01 else absolute,
            }
        )

    def visits(self) -> int:
        """The counter, or what this worker's cache still believes."""
        assert self.stored is not None
        if self.world.fault == "read cache":
            now = asyncio.get_running_loop().time()
            key = (self.worker, self.sid)
            if now - self.world.caches.get(key, (-9.0, 0))[0] > CACHE_SECONDS:
                self.world.caches[key] = (now, self.stored.visits)
            return self.world.caches[key][1]
        if self.world.fault == "loses the last write":
            return max(0, self.stored.visits - 1)
        return self.stored.visits


class Visits(Handler):
    async def post(self) -> None:
        assert self.stored is not None
        assert json.loads(self.request.body)["op"]
        fault = self.world.fault
        if fault == "blind write":
            before = self.stored.visits
            await asyncio.sleep(PAUSE_SECONDS)
            self.stored.visits = before + 1
        elif fault == "each worker counts":
            self.stored.by_worker[self.worker] += 1
            self.stored.visits = self.stored.by_worker[self.worker]
        elif fault == "one worker starts anew" and self.worker == "w4":
            self.finish({"visits": 1})
            return
        else:
            self.stored.visits += 2 if fault == "applies twice" else 1
        self.finish({"visits": self.stored.visits})


class Slow(Handler):
    async def get(self) -> None:
        assert self.stored is not None
        await asyncio.sleep(int(self.get_query_argument("ms")) / 1000)
        if self.world.fault == f"save re-creates after {self.stored.ended}":
            self.world.sessions[self.sid] = self.stored
        self.finish({})


class Data(Handler):
    def get(self, key: str) -> None:
        assert self.stored is not None
        if key not in self.stored.fields:
            self.fail(404)
        else:
            self.finish({"key": key, "value": self.stored.fields[key], "version": 1})

    async def put(self, key: str) -> None:
        assert self.stored is not None
        if self.world.fault == "put saves other notes too":
            notes = {name: n for name, n in self.stored.fields.items() if name != "counter"}
            await asyncio.sleep(PAUSE_SECONDS)
            self.stored.fields |= notes
        self.stored.fields[key] = json.loads(self.request.body)
        self.get(key)

    async def delete(self, key: str) -> None:
        assert self.stored is not None
        self.stored.fields.pop(key, None)
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
        self.get(key)


class Devices(Handler):
    def get(self) -> None:
        assert self.stored is not None
        mine = [
            stored for stored in self.world.sessions.values() if stored.user == self.stored.user
        ]
        listed = [{"ref": stored.ref, "current": stored is self.stored} for stored in mine]
        self.finish({"devices": listed})


class EndDevices(Handler):
    def post(self, ref: str | None = None) -> None:
        assert self.stored is not None
        fault, own = self.world.fault, self.stored
        for sid, stored in list(self.world.sessions.items()):
            if stored.user != own.user or fault == "end forgets Redis":
                continue
            if stored.ref == ref or (ref is None and stored is not own):
                self.world.end(sid, "end")
            if fault == "end others ends all" and ref is None:
                self.world.end(sid, "end")
        self.redirect("/devices")


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
        (r"/devices/end-others", EndDevices, given),
        (r"/devices/([0-9a-f]{16})/end", EndDevices, given),
    ]
    server = HTTPServer(Application(routes, log_function=lambda handler: None))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
