"""The settings of one run: the command line, with defaults from the environment.

`make loadtest DURATION=30 USERS=10` and `python -m loadtest --duration 30 --users 10` are the same.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

RESULTS = Path(__file__).parent.parent / ".stack" / "loadtest"
NOT_SHOWN = ("demo_password", "parts", "report", "out", "web_port", "versions")


@dataclass(frozen=True, slots=True)
class Settings:
    """What to drive, how hard, and what to expect. Times are seconds."""

    host: str
    workers: int | None
    weights: tuple[int, ...]
    policy: str
    duration: int
    users: int
    rate: float
    seed: int
    processes: int
    listen: str
    web_port: int
    demo_password: str
    session_idle_seconds: float
    session_absolute_seconds: float
    session_touch_seconds: float
    session_max_per_user: int
    go_on: bool
    out: Path
    report: bool
    parts: dict[str, int]
    versions: str

    def shown(self) -> dict[str, Any]:
        """What a verdict depends on, for the history and the report; no password."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_SHOWN}


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read and validate. SystemExit(2) with a line that names the setting when one is wrong."""
    parser = _parser(_with_password(environment))
    return Settings(**vars(parser.parse_args(arguments)))


def _with_password(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The password out of the file that DEMO_PASSWORD_FILE names, as the stack itself reads it."""
    path = environment.get("DEMO_PASSWORD_FILE")
    if not path or environment.get("DEMO_PASSWORD"):
        return environment
    try:
        return {**environment, "DEMO_PASSWORD": Path(path).read_text(encoding="utf-8").strip()}
    except OSError as error:
        print(f"DEMO_PASSWORD_FILE={path} cannot be read: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description="Drives a running stack and proves that its sessions hold.",
        epilog="Exit codes: 0 all holds, 10 a session was wrong, 11 uneven or sticky, 12 a limit of"
        " slo.toml was missed, 13 the run proves nothing, 14 the stack is not reachable,"
        " 2 wrong setting, or a bug in the load test.",
    )
    for name, default, kind, text in _OPTIONS:
        given = environment.get(name) or default
        parser.add_argument(
            f"--{name.lower().replace('_', '-')}",
            default=given,
            type=_named(name, kind),
            help=f"{text} (environment: {name}; default: {default or 'unknown'})",
        )
    return parser


def _named(name: str, read: Callable[[str], object]) -> Callable[[str], object]:
    """`read`, with errors that name the setting as a user of make knows it."""

    def checked(text: str) -> object:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{name}={text}: {error}") from None

    return checked


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("must be like http://127.0.0.1:8080")
    return text.rstrip("/")


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([0-9]+)(s|m|)", text)
    seconds = int(match[1]) * (60 if match[2] == "m" else 1) if match else 0
    if not 2 <= seconds <= 86_400:
        raise ValueError("must be seconds like 60 or 60s, or minutes like 2m; at least 2 seconds")
    return seconds


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _is_whole(text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most:,}")
        return int(text)

    return read


def _is_whole(text: str) -> bool:
    """Whether it is digits and nothing else; Python takes those of every script."""
    return text.isascii() and text.isdecimal()


def _workers(text: str) -> int | None:
    return _whole(1, 10_000)(text) if text else None


def _listen(text: str) -> str:
    address, colon, port = text.rpartition(":")
    if text and not (address and colon and _is_whole(port) and 0 < int(port) < 65536):
        raise ValueError("must be like 0.0.0.0:5557")
    return text


def _weights(text: str) -> tuple[int, ...]:
    return tuple(_whole(1, 10_000)(part.strip()) for part in text.split(",")) if text else ()


def _number(text: str) -> float:
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1e9:
        raise ValueError("must be a number, 0 or more")
    return number


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


def _parts(text: str) -> dict[str, int]:
    pairs = [part.rpartition("=") for part in text.split(",") if part]
    if not all(name and _is_whole(pid) for name, _, pid in pairs):
        raise ValueError("must be like nginx=123,redis=124: names and process ids")
    return {name: int(pid) for name, _, pid in pairs}


_OPTIONS: tuple[tuple[str, str, Callable[[str], object], str], ...] = (
    ("HOST", "http://127.0.0.1:8080", _url, "address of the stack"),
    ("WORKERS", "", _workers, "how many workers must answer; unknown: at least two"),
    ("WEIGHTS", "", _weights, "the workers' weights, like 2,1,1; unknown: all equal"),
    ("POLICY", "round_robin", str, "how nginx balances; evenness is judged for round_robin only"),
    ("DURATION", "20", _seconds, "length of the run"),
    ("USERS", "20", _whole(1, 10_000), "closed users: each waits for an answer before going on"),
    ("RATE", "50", _number, "open arrivals a second, in addition to the users; 0: none"),
    ("SEED", "1", _whole(0, 1 << 32), "seed of the arrivals and of every user's choices"),
    ("PROCESSES", "1", _whole(1, 64), "generator processes; each can use one core"),
    ("LISTEN", "", _listen, "address:port where PROCESSES processes of other machines join"),
    ("WEB_PORT", "0", _whole(0, 65535), "open Locust's web page on this port instead of starting a run"),
    ("DEMO_PASSWORD", "demo", str, "password of the demo accounts it makes up"),
    ("SESSION_IDLE_SECONDS", "1800", _number, "the longest idle timeout that the stack may report"),
    ("SESSION_ABSOLUTE_SECONDS", "43200", _number, "the longest absolute timeout that the stack may report"),
    ("SESSION_TOUCH_SECONDS", "60", _number, "the stack moves the idle timeout at most this often"),
    ("SESSION_MAX_PER_USER", "5", _whole(0, 1000), "how many sessions a user may have; 0: unknown, no test of the limit"),
    ("GO_ON", "0", _switch, "1: continue after a violation, to the end of the run"),
    ("OUT", str(RESULTS), Path, "folder for the runs, with links to the files of the last one"),
    ("REPORT", "1", _switch, "draw the report: an HTML page, pictures and JSON; 0: do not"),
    ("PARTS", "", _parts, "processes of the stack to watch, such as nginx=123,redis=124"),
    ("VERSIONS", "", str, "versions of the stack's parts, for the report"),
)  # fmt: skip
