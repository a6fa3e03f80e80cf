"""Which passwords `make user` refuses: short ones, common ones, and those made of words of this site.

ASVS 5.0 6.2.1, 6.2.4, 6.2.11.  Nothing else is asked of a password: no kinds of characters, no change after a time.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from functools import cache

from app.accounts import MAX_PASSWORD_CHARACTERS
from deploy.refused import Refused

MIN_CHARACTERS = 8
PRODUCT = "Tornado round robin nginx Redis"
MIN_WORD_CHARACTERS = 3  # shorter ones are in every sentence
REMEDY = "take several words that do not belong together, or have one made: openssl rand -base64 15"


def check_password(password: str, name: str, hosts: Iterable[str] = ()) -> None:
    """Refused, with the reason and never with the password, when it is not good for the account `name`."""
    if not MIN_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        bounds = f"{MIN_CHARACTERS} to {MAX_PASSWORD_CHARACTERS}"
        raise Refused(f"a password has {bounds} characters, and this one {len(password)}")
    if password.casefold() in common():
        raise Refused(
            f"this password is one of the most common ones, tried first by everybody: {REMEDY}"
        )
    words = site_words(name, hosts)
    rest = re.sub("|".join(map(re.escape, words)), "", password.casefold())
    if len(rest) < len(password.casefold()) and (len(rest) < MIN_CHARACTERS or rest in common()):
        raise Refused(
            f"this password is little more than a word of this site ({', '.join(sorted(words))}): {REMEDY}"
        )


def site_words(name: str, hosts: Iterable[str] = ()) -> list[str]:
    """What somebody who guesses would begin with: the account's name, the host names, the product; the longest first."""
    text = " ".join([name, name.replace(" ", ""), *hosts, socket.gethostname(), PRODUCT])
    words = {
        word for word in re.split(r"[\W_]+", text.casefold()) if len(word) >= MIN_WORD_CHARACTERS
    }
    return sorted(
        {*words, name.casefold()} if len(name) >= MIN_WORD_CHARACTERS else words,
        key=len,
        reverse=True,
    )


@cache
def common() -> frozenset[str]:
    """The 30,000 most common passwords, in small letters; of these 11,600 are long enough to matter."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # read by `make user` alone

    return frozenset(FREQUENCY_LISTS["passwords"])
