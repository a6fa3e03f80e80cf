"""What has to be refused: wrong passwords, forged cookies, and whoever comes without one."""

import base64
from collections.abc import Iterator
from random import Random

from loadtest.scenarios import Visitor

FORGED, UNANNOUNCED = 6, 4  # requests of each kind in one life
WRONG = 2  # passwords each, of a stranger and in the browser of a session: fewer than a stack may slow down
PATHS: tuple[
    tuple[str, str, str | None, str], ...
] = (  # method, path, body, what the stack needs for it
    ("GET", "/", None, ""),
    ("GET", "/api/session", None, ""),
    ("POST", "/api/visits", '{"op":"stranger"}', ""),
    ("GET", "/api/data/note", None, "data"),
    ("PUT", "/api/data/note", '"of a stranger"', "data"),
    ("POST", "/api/data/note/add", '{"by":1}', "data"),
    ("DELETE", "/api/data/note", None, "data"),
    ("GET", "/api/devices", None, "devices"),
    ("GET", "/devices", None, "devices"),
    ("POST", "/devices/end-others", None, "devices"),
    ("POST", "/devices/end-all", None, "devices"),
    ("POST", "/api/alerts", '{"text":"of a stranger"}', ""),
    ("GET", "/slow?ms=0&kind=wait&write=stranger", None, "slow"),
)


def be_refused(visitor: Visitor) -> None:
    """Try to get in beside a session, and from it: nobody does, and the session lives on."""
    browser, random = visitor.browser, visitor.random
    session = visitor.log_in()
    browser.visit(session)
    for wrong in random.sample(list(wrong_passwords(visitor.password, random)), WRONG):
        visitor.new_browser().fail_to_log_in(session.user, wrong)
        browser.fail_to_log_in(session.user, wrong, session)
    browser.read(session)
    paths = [path for path in PATHS if path[3] not in visitor.missing]
    for cookie in random.sample(list(forgeries(session.cookie, random)), FORGED):
        visitor.new_browser().stray("GET", random.choice(("/", "/api/session")), cookie)
    for method, path, body, _ in random.sample(paths, UNANNOUNCED):
        visitor.new_browser().stray(method, path, body=body)
    browser.visit(session)
    visitor.finish(session)


def wrong_passwords(password: str, random: Random) -> Iterator[str]:
    """Some that are nearly right."""
    nearly = (password.swapcase(), password[:-1], password[1:], password[::-1], "")
    yield from (wrong for wrong in nearly if wrong != password)
    yield f"{password}-{random.random()}"


def forgeries(cookie: str, random: Random) -> Iterator[str]:
    """Cookies that were never given out, made of one that was: none of them may be let in."""
    name, _, quoted = cookie.partition("=")
    value = quoted.strip('"')
    yield f"{name}="
    yield f"{name}=x"
    yield f"{name}={value[: len(value) // 2]}"
    yield f"{name}={value[::-1]}"
    yield f"{name}={value}{value}"
    yield f"{name}={'9' * 3000}"
    for place in (len(value) - 1, len(value) // 2, random.randrange(len(value))):
        yield f"{name}={value[:place]}{'a' if value[place] != 'a' else 'b'}{value[place + 1 :]}"
    yield from (f"{name}={raw}" for raw in _unsigned(value))


def _unsigned(value: str) -> Iterator[str]:
    """What a signed value may carry inside: its longest part, and that decoded."""
    longest = max(value.replace(":", "|").replace(".", "|").split("|"), key=len)
    if longest != value:
        yield longest
        try:
            yield base64.urlsafe_b64decode(longest + "=" * (-len(longest) % 4)).decode("ascii")
        except ValueError:
            pass  # it was no text
