"""Redis Cluster: each call goes to the node that holds its slot, and follows the slot when it moves.

A session and its user's index share a slot, so every call is whole on one node, and growing from one
server to a cluster is a change of REDIS_URL.  A node that answers MOVED, ASK, TRYAGAIN or CLUSTERDOWN
has not run the call: it goes again, within its time limit.  So does one that could not be sent, where
another node has taken over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count

from .address import Address, Place
from .calls import Call, PlainRequest, StoreUnavailable
from .connection import connect
from .exchange import NOT_THE_MASTER, Exchange, Refusal
from .server import ServerLink
from .slots import Slots, ask_slots, slot_of

AGAIN_SECONDS = 0.03  # before a call that did not run goes again
LEARN_SECONDS = 0.1  # between two looks at who holds which slot, at least

MakeExchange = Callable[[Refusal], Exchange]


class ClusterLink:
    """A link to each node, made when the first call goes there."""

    def __init__(self, address: Address, make: MakeExchange, timeout_seconds: float) -> None:
        """`make` makes an exchange that tells of each call that did not run."""
        self._address = address
        self._make = make
        self._timeout_seconds = timeout_seconds
        self._slots = Slots([], list(address.hosts))
        self._links: dict[Place, ServerLink] = {}
        self._learning: asyncio.Task[None] | None = None
        self._not_before = 0.0  # for the next look, seconds of the event loop's clock
        # For that look: a call, where it could not be sent and why, and what gives it up in time.
        self._waiting: list[tuple[Call, Place | None, str, asyncio.TimerHandle]] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._closing = False

    def send(self, calls: list[Call]) -> None:
        now = asyncio.get_running_loop().time()
        for call in calls:
            call.since = now
        self._send(calls)

    def retire(self, reason: str) -> None:
        for link in self._links.values():
            link.retire(reason)

    async def tags(self) -> list[str]:
        """Hash tags of which one leads to each primary, in an order that stays.  Raises StoreUnavailable."""
        if not self._slots.holders:
            self._learn()
        if self._learning is not None:
            await asyncio.shield(self._learning)
        holders = self._slots.holders
        found: dict[Place, str] = {}
        missing = set(holders) - {None}
        if not missing:
            raise StoreUnavailable("no node of the cluster is known", may_have_happened=False)
        tags = map(str, count())
        while missing:
            holder = holders[slot_of(tag := next(tags))]
            if holder is not None and holder in missing:
                missing.remove(holder)
                found[holder] = tag
        return [found[place] for place in sorted(found)]

    async def close(self) -> None:
        self._closing = True
        if self._learning is not None:
            await self._learning
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*(link.close() for link in self._links.values()))

    def _send(self, calls: list[Call]) -> None:
        by_node: dict[Place, list[Call]] = {}
        for call in calls:
            holder = self._holder(call)
            if call.answer.done():  # nobody waits any more: it must not happen now
                continue
            if holder is None:
                self._wait(None, call, "no node of the cluster holds this slot")
            else:
                by_node.setdefault(holder, []).append(call)
        for place, some in by_node.items():
            self._link(place).send(some)

    def _holder(self, call: Call) -> Place | None:
        if not self._slots.holders:
            return None
        return self._slots.holders[slot_of(call.request.command[3])]  # the first key

    def _link(self, place: Place) -> ServerLink:
        if place not in self._links:

            async def open_exchange() -> Exchange:
                exchange = self._make(partial(self._refused, place))
                return await connect(exchange, self._address, place, as_master=True)

            unreachable = partial(self._wait, place)
            where = "{}:{}".format(*place)
            self._links[place] = ServerLink(
                open_exchange, where, self._timeout_seconds, unreachable
            )
        return self._links[place]

    # ---- calls that did not run

    def _refused(self, place: Place, call: Call, error: str) -> None:
        code, *about = error.split(" ")
        if code == "MOVED":
            self._learn()
            self._slots.holders[int(about[0])] = _target(about[1], place)
            self._again(call, error, at_once=True)
        elif code == "ASK":  # for this call alone
            # With the script itself: asked again after NOSCRIPT it would need another ASKING.
            full = call.anew(PlainRequest(*call.request.in_full()), call.answer)
            self._link(_target(about[1], place)).send([_asking(), full])
        elif code in ("TRYAGAIN", "CLUSTERDOWN", *NOT_THE_MASTER):
            self._learn()
            self._again(call, error)
        else:
            call.refuse(error)

    def _again(self, call: Call, error: str, *, at_once: bool = False) -> None:
        """Send it again, in a moment; give up at the time limit.  Two nodes may point at each other."""
        loop = asyncio.get_running_loop()
        waited = self._waited(call)
        if waited > self._timeout_seconds - AGAIN_SECONDS:
            call.fail(error, may_have_happened=False)
        elif at_once and waited < AGAIN_SECONDS:
            self._send([call])
        else:

            def send() -> None:
                self._timers.discard(timer)
                self._send([call])

            timer = loop.call_later(AGAIN_SECONDS, send)
            self._timers.add(timer)

    # ---- who holds which slot

    def _wait(self, place: Place | None, call: Call, reason: str) -> None:
        """Until the next look.  It fails if that leads nowhere else than to `place`, or comes too late."""
        left = self._timeout_seconds - self._waited(call)
        give_up = partial(call.fail, reason, may_have_happened=False)
        timer = asyncio.get_running_loop().call_later(max(0, left), give_up)
        self._waiting.append((call, place, reason, timer))
        self._learn()

    def _waited(self, call: Call) -> float:
        return asyncio.get_running_loop().time() - call.since

    def _learn(self) -> None:
        if self._learning is None and not self._closing:
            self._learning = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if (wait := self._not_before - loop.time()) > 0:
            await asyncio.sleep(wait)
        failed = ""
        try:
            # The URL's nodes too: those that were known may all have been replaced.
            known = list(dict.fromkeys([*self._slots.nodes, *self._address.hosts]))
            self._slots = await ask_slots(self._address, known, self._timeout_seconds)
        except Exception as error:  # whatever it is: those who wait must be told
            failed = f"no connection to Redis: {error}"
        self._not_before = loop.time() + LEARN_SECONDS
        self._learning = None
        waiting, self._waiting = self._waiting, []
        for call, place, reason, timer in waiting:
            timer.cancel()
            holder = self._holder(call)
            if failed or holder in (None, place):
                call.fail(failed or reason, may_have_happened=False)
            else:
                self._send([call])


def _asking() -> Call:
    """ASKING, before a call that its new node may run although the slot is not wholly there yet."""
    call = Call(PlainRequest("ASKING"), asyncio.get_running_loop().create_future())
    call.answer.add_done_callback(lambda answer: answer.exception())  # of no interest
    return call


def _target(text: str, place: Place) -> Place:
    """Where a redirection leads; a node that does not know its own name is on the same host."""
    host, _, port = text.rpartition(":")
    return (place[0] if host in ("", "?") else host), int(port)
