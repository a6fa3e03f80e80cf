"""Session ids and the Redis keys they lead to.

An id is `<tag><random>`: four characters taken from a hash of the user's name, then 27 random bytes
in 36 characters (216 bits; ASVS 5.0 requirement 7.2.3 asks for 128).  The tag puts everything of one
user into one hash slot, so that each script is atomic on Redis Cluster too.  Redis is given only the
SHA-256 of the id: who reads Redis cannot make a cookie of what is there.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

TAG_CHARACTERS = 4
_ID = re.compile(r"[A-Za-z0-9_-]{40}", re.ASCII)


class NotAnId(ValueError):
    """This text was never given out as an id."""


def new_id(user: str) -> str:
    """A fresh, unguessable id for a session of `user`; it goes into the cookie and nowhere else."""
    return tag_of(user) + secrets.token_urlsafe(27)


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id; only then is it worth asking Redis."""
    return _ID.fullmatch(text) is not None


def check_id(text: str) -> None:
    """Raise NotAnId unless `text` has the form of an id."""
    if not is_id(text):
        raise NotAnId


def tag_of(user: str) -> str:
    digest = hashlib.blake2b(user.encode(), digest_size=3).digest()
    return base64.urlsafe_b64encode(digest).decode()


def digest_of(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()


def ref_of(digest: str) -> str:
    """The short name of a session among those of its user, for pages and logs."""
    return digest[:16]


def session_key(tag: str, digest: str) -> str:
    return f"session:{{{tag}}}:{digest}"


def log_key(tag: str, digest: str) -> str:
    """Where the operations already counted in a session are remembered."""
    return f"operations:{{{tag}}}:{digest}"


def user_key(user: str) -> str:
    return f"user:{{{tag_of(user)}}}:{user}"


def operation_mark(key: str, operation: str) -> str:
    """A short name for one operation on one field.  It starts with `=`, so no number equals it."""
    text = f"{key}\0{operation}".encode(errors="surrogatepass")  # clients choose the name
    digest = hashlib.blake2b(text, digest_size=12).digest()
    return "=" + base64.urlsafe_b64encode(digest).decode()
