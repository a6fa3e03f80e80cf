"""How a worker stops listening without refusing anybody whom nginx has already sent to it."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import socket
import struct
import sys
from collections.abc import Callable

from tornado.httpserver import HTTPServer

# Longer than keepalive_timeout in nginx/upstream.conf: by then nginx has used or closed every
# connection it kept open, and each use was answered with `Connection: close`.
KEPT_OPEN_SECONDS = 2.5
AT_LEAST_SECONDS = 1.0
SETTLE_SECONDS = 0.02  # some turns of the event loop
TURNS = 3  # each accepts; few, as nginx may knock meanwhile

SO_ATTACH_FILTER = 26
# Linux, socket(7) and linux/filter.h: drop a TCP packet whose SYN bit (byte 13) is set, pass all others.
DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))

log = logging.getLogger("app")


async def stop_listening(
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
    """Let nobody join the queue of a listening socket, and accept those who are in it.

    Closing a listening socket resets the connections that wait there, though a client may have sent
    a request on one.  Who knocks meanwhile hears nothing, and nginx tries another worker.
    """
    if sys.platform != "linux":
        return
    program = b"".join(struct.pack("HBBI", *line) for line in DROP_SYN)
    buffer = ctypes.create_string_buffer(program)
    option = struct.pack("HP", len(DROP_SYN), ctypes.addressof(buffer))
    for listening in server._sockets.values():
        try:
            listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
        except OSError as error:
            log.warning("no filter on the listening socket: %s", error.strerror)
    for _ in range(TURNS):
        await asyncio.sleep(0.001)
