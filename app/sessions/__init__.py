"""The session engine: sessions in Redis that stay right when parallel requests meet on several workers.

Copy this folder alone into another project; it needs hiredis and ujson.
"""

from .codec import CorruptJson, NotPlainJson
from .counters import Counters
from .identity import is_id
from .limits import Limits
from .rights import check_rights
from .session import BadKey, Session
from .store import Device, Event, NotAnInteger, RedisSessions, SessionConflict, SessionTooLarge
from .watch import Notices, Watch
from .wire.address import BadAddress, read_address
from .wire.calls import StoreUnavailable
from .wire.pipeline import Pipeline
from .wire.subscription import Subscription

__all__ = [
    "BadAddress",
    "BadKey",
    "CorruptJson",
    "Counters",
    "Device",
    "Event",
    "Limits",
    "NotAnInteger",
    "NotPlainJson",
    "Notices",
    "Pipeline",
    "RedisSessions",
    "Session",
    "SessionConflict",
    "SessionTooLarge",
    "StoreUnavailable",
    "Subscription",
    "Watch",
    "check_rights",
    "is_id",
    "read_address",
]
