"""What the load test records about one request, and the names of the promises it checks.

Data only: both checkers are written in these words. Times are nanoseconds of one monotonic clock.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf


class Kind(StrEnum):
    """What a request was meant to do."""

    LOGIN = "login"
    LOGOUT = "logout"
    PAGE = "page"  # the main page, which shows the visits
    READ = "read"  # the session as JSON
    VISIT = "visit"
    REPEAT = "repeated visit"  # the same operation id once more
    SLOW = "slow write"
    PROBE = "probe"  # a read that sends a cookie which should be dead
    ADD = "add"  # read-modify-write of a field that counts
    COUNT = "count"  # where such a field stands; one that is not there stands at 0
    PUT = "put"  # a field, by its only writer
    GET = "get"  # such a field
    DELETE = "delete"  # a field, which nobody writes again
    DEVICES = "devices"  # the user's sessions, as JSON or as a page
    END = "end device"  # end sessions of the same user
    WRONG = "wrong password"
    STRANGER = "without a session"  # no cookie, or one that was never given out


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
    REPEAT_COUNTS_ONCE = "a repeat counts once"
    PAGE_IS_FRESH = "page as fresh as the API"
    VALUE_AS_WRITTEN = "value as written"
    NOTHING_VANISHES = "nothing vanishes"
    VERSION_GROWS = "version only grows"
    DELETE_IS_FINAL = "delete is final"
    LOGOUT_IS_FINAL = "logout is final"
    END_IS_FINAL = "end of a device is final"
    NEW_ID_AT_LOGIN = "new id at login"
    CAP_ENDS_OLDEST = "cap ends the oldest"
    NO_PHANTOM_LOGOUT = "no phantom logout"
    DEVICE_LIST = "device list"
    COOKIE_WHEN_DUE = "cookie only when due"
    LOGOUT_CLEARS_COOKIE = "logout clears the cookie"
    LIFETIME = "lifetime within bounds"
    IDLE_MOVES = "use moves the idle timeout"
    TIMEOUT_ENDS = "a timeout ends a session"
    WRONG_PASSWORD = "wrong password is refused"
    NO_STRANGER = "nobody without a session"


@dataclass(slots=True)
class Op:
    """One request of one session, from its invocation to what came back.

    A session has several counters: its visits, and the fields named by `key`.
    `value` is a position in the order of a counter: the one that a raise was given, or that a read saw.
    A field that is put has positions too: its first value, its second, and so on; 0 where it is absent.
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
    op: str | None = None  # the client's id of a visit
    key: str | None = None  # the field; none: the visits
    sent: str | None = None  # put: the value as it was sent, shortened
    got: str | None = None  # put and get: the value in the answer, shortened; none: it is absent
    replaces: str | None = None  # login: the session whose cookie was sent along
    ends: tuple[str, ...] | None = None  # the sessions that an end, or a login over the cap, ends
    cookie: str | None = None  # a short hash of the session cookie in the answer
    cleared: bool | None = None  # the answer takes the session cookie away
    status: int = 0
    through: str | None = None  # the address it was sent to, where the stack has several
    worker: str | None = None
    boot: str | None = None
    seen: str | None = None  # the user the answer names
    value: int | None = None
    version: int | None = None
    idle: float | None = None  # seconds until the idle timeout, as the answer says
    absolute: float | None = None  # seconds until the absolute timeout
    refs: tuple[str, ...] | None = None  # devices: all that are listed
    ref: str | None = None  # devices: the one that is called the current one
    named: str | None = None  # devices: the one that has this browser's name
    why: str | None = None  # a short phrase, for failures and refusals


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """What a new session is given, in seconds; infinity: not known, and nothing is said about it.

    Use moves the idle timeout at most once in `touch_seconds`.
    """

    idle_seconds: float = inf
    absolute_seconds: float = inf
    touch_seconds: float = 60
    slack_seconds: float = 0.5  # rounding, and how exactly the lifetimes are known

    @property
    def throttle_seconds(self) -> float:
        """By how much a session may end before its idle timeout."""
        return min(self.touch_seconds, self.idle_seconds / 10)

    @property
    def sure_seconds(self) -> float:
        """For how long after its last use a session certainly lives."""
        return self.idle_seconds - self.throttle_seconds - self.slack_seconds


RAISES = frozenset({Kind.VISIT, Kind.REPEAT, Kind.ADD, Kind.PUT})  # these move a counter up by one
SHOWS = frozenset({Kind.READ, Kind.PAGE, Kind.COUNT, Kind.GET})  # these say where it stands


def ended_sessions(op: Op) -> tuple[str, ...]:
    """The sessions that this request ends if it happens."""
    if op.kind is Kind.LOGOUT:
        return (op.session,)
    if op.replaces:
        return (op.replaces, *(op.ends or ()))
    return op.ends or ()


def promise_of(ender: Op, session: str) -> Invariant:
    """The promise that `session` is over once `ender` is acknowledged."""
    if ender.kind is Kind.LOGIN:
        over = session == ender.replaces
        return Invariant.NEW_ID_AT_LOGIN if over else Invariant.CAP_ENDS_OLDEST
    if ender.kind is Kind.LOGOUT:
        return Invariant.LOGOUT_IS_FINAL
    return Invariant.END_IS_FINAL
