"""What a server was asked, by its own account: the MONITOR command, read without a client library."""

from __future__ import annotations

import re
import secrets
import socket
from dataclasses import dataclass

from lab.testbed.servers import Place

_LINE = re.compile(rb"\+[\d.]+ \[\d+ (\S+)\] (.*)")
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Command:
    """One command.  `by_script` is True for what a script did inside the server."""

    arguments: list[bytes]
    by_script: bool

    @property
    def name(self) -> str:
        return self.arguments[0].decode().upper()

    @property
    def keys(self) -> list[bytes]:
        """The keys that a script call names."""
        return self.arguments[3 : 3 + int(self.arguments[2])]


class Monitor:
    """`with Monitor(place) as monitor:` and, after the block, `monitor.commands` is what reached it."""

    def __init__(self, place: Place) -> None:
        self.commands: list[Command] = []
        self._nodes = place.nodes
        self._open: list[socket.socket] = []

    def __enter__(self) -> Monitor:
        for node in self._nodes:
            raw = socket.create_connection(("127.0.0.1", node.port), timeout=5)
            raw.sendall(b"MONITOR\r\n")
            assert raw.recv(5) == b"+OK\r\n"
            self._open.append(raw)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for node, raw in zip(self._nodes, self._open, strict=True):
            end = secrets.token_hex(8).encode()  # everything before this has been seen
            if kind is None:
                node.admin.execute_command("ECHO", end)
                self.commands += _parse(_read_until(raw, end))
            raw.close()

    @property
    def calls(self) -> list[Command]:
        """The calls of scripts by a client."""
        return [one for one in self.from_clients if one.name in ("EVALSHA", "EVAL")]

    @property
    def from_clients(self) -> list[Command]:
        return [one for one in self.commands if not one.by_script]

    @property
    def from_scripts(self) -> list[Command]:
        return [one for one in self.commands if one.by_script]


def _read_until(raw: socket.socket, end: bytes) -> bytes:
    seen = b""
    while end not in seen or not seen.endswith(b"\n"):
        part = raw.recv(1 << 16)
        assert part, "the server closed the connection of MONITOR"
        seen += part
    return seen[: seen.index(end)]


def _parse(text: bytes) -> list[Command]:
    """The last line is the marker and is left out, with the greeting of the client that sent it."""
    found = []
    for line in text.split(b"\r\n")[:-1]:
        match = _LINE.fullmatch(line)
        assert match, line
        words = _WORD.findall(match[2])
        arguments = [word.decode("unicode_escape").encode("latin-1") for word in words]
        found.append(Command(arguments, by_script=match[1] == b"lua"))
    return [one for one in found if one.name not in ("HELLO", "CLIENT", "ECHO")]
