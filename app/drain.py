"""How a worker drains: from SIGTERM to its exit without losing a request that nginx has sent to it."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import socket
import struct
import sys
from collections.abc import Callable

from tornado.httpserver import HTTPServer

from app.events.hub import Hub
from app.handlers.base import Worker

# Longer than keepalive_timeout in nginx/upstream.conf: by then nginx has used or closed every
# connection it kept open, and each use was answered with `Connection: close`.
KEPT_OPEN_SECONDS = 2.5
AT_LEAST_SECONDS = 1.0
# So long a client whose connection was accepted at the last moment may take to send its request: nginx does so at once,
# unless its machine stands still.
LATE_SECONDS = 1.0
SETTLE_SECONDS = 0.02  # some turns of the event loop
TURNS = 3  # each accepts connections; few, as more may arrive meanwhile

SO_ATTACH_FILTER = 26
# Linux, socket(7) and linux/filter.h: drop a TCP packet whose SYN bit (byte 13) is set, pass all others.
DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))

log = logging.getLogger("app")


async def drain(
    server: HTTPServer, worker: Worker, hub: Hub, seconds: float, *, succeeded: bool = False
) -> None:
    """Finish within `seconds`.  docs/architecture.md lists the steps.

    Each answer from now on carries `Connection: close`, so that nginx empties its pool of connections
    while new ones are still accepted; then nothing new is accepted, event streams are told to reconnect
    to another worker, and what is in flight finishes.  A worker that is `succeeded` by one on the same
    socket stops accepting at once.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    kept = set(server._connections)
    worker.ready = False
    log.info("draining")
    if succeeded:
        server.stop()
    else:
        await _stop_listening(server, lambda: worker.in_flight, seconds / 2)
    stopped = loop.time()
    await hub.drain()

    def is_awaited() -> bool:
        """Whether a connection made since the drain began, and closed by its answer, has still to bring a request."""
        return bool(server._connections - kept) and loop.time() - stopped < LATE_SECONDS

    while (worker.in_flight or hub.open or is_awaited()) and loop.time() < deadline:
        await asyncio.sleep(0.02)
    if worker.in_flight:
        log.warning("%d requests were cut off after %g s", worker.in_flight, seconds)
    await asyncio.sleep(0.05)  # the last answers are still on their way to the kernel
    log.info("stopped")


async def _stop_listening(
    server: HTTPServer, in_flight: Callable[[], int], at_most_seconds: float
) -> None:
    """Go on accepting until no connection is idle, for at most `at_most_seconds` or KEPT_OPEN_SECONDS.

    A connection with a request in flight needs no waiting for: its answer closes it.  `no_keep_alive`
    of the shared parameters and the set of connections are not documented by Tornado: tests guard both.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    limit = min(KEPT_OPEN_SECONDS, at_most_seconds)
    server.conn_params.no_keep_alive = True
    await asyncio.sleep(min(AT_LEAST_SECONDS, limit))
    while len(server._connections) > in_flight() and loop.time() - began < limit:
        await asyncio.sleep(SETTLE_SECONDS)
    await _accept_the_last(server)
    server.stop()
    await asyncio.sleep(SETTLE_SECONDS)  # what was just accepted is read, and counts as in flight


async def _accept_the_last(server: HTTPServer) -> None:
    """Let no new connection join the queue of a listening socket, and accept those that wait in it.

    Closing a listening socket resets the connections in its queue, though a client may have sent a
    request on one.  A client whose SYN is dropped gets no answer, and nginx tries another worker.
    """
    if sys.platform != "linux":
        return
    program = b"".join(struct.pack("HBBI", *line) for line in DROP_SYN)
    buffer = ctypes.create_string_buffer(program)
    option = struct.pack("HP", len(DROP_SYN), ctypes.addressof(buffer))
    try:
        for listening in server._sockets.values():
            listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
    except OSError as error:
        log.debug("no filter on the listening sockets: %s", error.strerror)
    for _ in range(TURNS):
        await asyncio.sleep(0.001)
