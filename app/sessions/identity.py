"""Session ids, and the keys of Redis they lead to.

The id of a login is `<tag><random>`: four characters taken from a hash of the user's name, then 27
random bytes in 36 characters (216 bits; ASVS 5.0 requirement 7.2.3 asks for 128).  The tag puts
everything of one user into one hash slot, so that each script is atomic on Redis Cluster too.  The
SHA-256 of this first id, its digest, names the session for all its life.

A renewed id is `<tag><digest><secret>`.  The secret is made of the id before it and of a salt that
Redis keeps: who holds the old id can make it, who reads Redis cannot, nor a cookie of anything there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

TAG_CHARACTERS = 4
FIRST_ID_CHARACTERS = 40
_ID = re.compile(r"[\w-]{40}|[\w-]{4}[0-9a-f]{64}[\w-]{43}", re.ASCII)


def new_id(user: str | None) -> str:
    """A fresh, unguessable id for a session of `user`, or of nobody yet; for the cookie and nothing else."""
    return (secrets.token_urlsafe(3) if user is None else tag_of(user)) + secrets.token_urlsafe(27)


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id; only then is it worth asking Redis."""
    return _ID.fullmatch(text) is not None


def successor_of(session_id: str, salt: str) -> str:
    """The id that takes the place of `session_id` when its session is renewed with `salt`."""
    secret = hmac.digest(session_id.encode(), salt.encode(), "sha256")
    text = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    return tag_in(session_id) + digest_of(session_id) + text


def tag_of(user: str) -> str:
    digest = hashlib.blake2b(user.encode(), digest_size=3).digest()
    return base64.urlsafe_b64encode(digest).decode()


def tag_in(session_id: str) -> str:
    return session_id[:TAG_CHARACTERS]


def digest_of(session_id: str) -> str:
    """What names the session of an id in Redis, whether the id was renewed or not."""
    if len(session_id) == FIRST_ID_CHARACTERS:
        return _sha256(session_id)
    return session_id[TAG_CHARACTERS : TAG_CHARACTERS + 64]


def proof_of(session_id: str) -> str:
    """What a session remembers of a renewed id; nothing of the first one, whose digest names it."""
    return "" if len(session_id) == FIRST_ID_CHARACTERS else _sha256(session_id)


def ref_of(digest: str) -> str:
    """The short name of a session among those of its user, for pages and logs; it never changes."""
    return digest[:16]


def session_key(tag: str, digest: str, prefix: str = "") -> str:
    return f"{prefix}session:{{{tag}}}:{digest}"


def log_key(tag: str, digest: str, prefix: str = "") -> str:
    """Where the operations already counted in a session are remembered."""
    return f"{prefix}operations:{{{tag}}}:{digest}"


def index_key(tag: str, user: str, prefix: str = "") -> str:
    """Where the sessions of a user are listed."""
    return f"{prefix}user:{{{tag}}}:{user}"


def user_key(user: str, prefix: str = "") -> str:
    return index_key(tag_of(user), user, prefix)


def operation_mark(key: str, operation: str) -> str:
    """A short name for one operation on one field.  It starts with `=`, so no number equals it."""
    text = f"{key}\0{operation}".encode(errors="surrogatepass")  # clients choose the name
    digest = hashlib.blake2b(text, digest_size=12).digest()
    return "=" + base64.urlsafe_b64encode(digest).decode()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
