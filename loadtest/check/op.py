"""What the load test records about one request, and the names of the promises it checks.

Data only: the online model and the offline checker share these words and no code.
Times are nanoseconds of one monotonic clock.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a request was meant to do."""

    LOGIN = "login"
    LOGOUT = "logout"
    PAGE = "page"
    READ = "read"
    VISIT = "visit"
    SLOW = "slow write"
    PROBE = "probe"  # a read that sends a cookie which should be dead
    ADD = "add"  # read-modify-write of one field
    PUT = "put"  # one field, by its only writer: 1, then 2, then 3, ...
    GET = "get"  # one field; one that is not there counts as 0
    DELETE = "delete"  # one field, which nobody writes again
    DEVICES = "devices"  # the user's sessions
    END = "end device"  # end other sessions of the same user


class Outcome(StrEnum):
    """What is known about a request's effect afterwards."""

    OK = "ok"  # answered as asked
    DENIED = "denied"  # answered "not logged in": certainly without effect
    CONFLICT = "conflict"  # answered "others were faster each time": certainly without effect
    FAIL = "fail"  # refused or never sent: certainly without effect
    UNKNOWN = "may have happened"  # sent, and the answer does not tell


class Invariant(StrEnum):
    """The promises, each counted on its own."""

    IDENTITY = "identity"
    READ_YOUR_WRITES = "read your writes"
    MONOTONIC_READS = "monotonic reads"
    MONOTONIC_WRITES = "monotonic writes"
    WRITES_FOLLOW_READS = "writes follow reads"
    NO_LOST_UPDATE = "no lost update"
    LINEARIZABLE_COUNTER = "linearizable counter"
    BOUNDS = "bounds"
    QUIESCENT_COUNT = "quiescent count"
    DELETE_IS_FINAL = "delete is final"
    LOGOUT_IS_FINAL = "logout is final"
    END_IS_FINAL = "end of a device is final"
    NEW_ID_AT_LOGIN = "new id at login"
    LIFETIME = "lifetime within bounds"
    NO_PHANTOM_LOGOUT = "no phantom logout"


@dataclass(slots=True)
class Op:
    """One request of one session, from its invocation to what came back.

    A session has several counters: its visits, and the fields named by `key`.
    `value` is a count: the position that a raise was given, or what a read saw.
    `returned` is when the client stopped waiting, for an unknown outcome too.
    """

    number: int
    kind: Kind
    session: str
    user: str
    invoked: int
    returned: int = 0
    outcome: Outcome = Outcome.UNKNOWN
    intended: int | None = None  # when an open arrival was due
    op: str | None = None  # the client's id of an increment
    key: str | None = None  # the field; none: the visits
    replaces: str | None = None  # login: the session whose cookie was sent along
    ends: tuple[str, ...] | None = None  # end device: the sessions it is about
    cookie: str | None = None  # login: a short hash of the cookie that came back
    status: int = 0
    worker: str | None = None
    boot: str | None = None
    seen: str | None = None  # the user the answer names
    value: int | None = None
    version: int | None = None
    idle: float | None = None  # seconds until the idle timeout, as the answer says
    absolute: float | None = None  # seconds until the absolute timeout
    why: str | None = None  # one of a few fixed phrases, for failures


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The longest lifetimes a session may report, in seconds."""

    idle_seconds: float = 1800
    absolute_seconds: float = 43200
    slack_seconds: float = 2.0  # rounding, and the time between the answer and our clock


RAISES = frozenset({Kind.VISIT, Kind.ADD, Kind.PUT})  # these move a counter up by one
SHOWS = frozenset({Kind.READ, Kind.GET})  # these say where it stands


def ended_sessions(op: Op) -> tuple[str, ...]:
    """The sessions that this request ends if it happens."""
    if op.kind is Kind.LOGOUT:
        return (op.session,)
    if op.kind is Kind.LOGIN:
        return (op.replaces,) if op.replaces else ()
    return op.ends or ()
