"""Redis's user `sessions` of deploy/redis/users.acl: the tests of this folder reach Redis as workers do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.redis_users import TEMPLATE
from lab.testbed.servers import Place, RedisServer, running

# The sentence of a right that is missing may come after what a script did before: none may ever be logged.
LOGGED = ("reason", "context", "object")
OTHER = "shop:"  # a prefix that some tests use beside none


def rules(prefix: str = "") -> list[str]:
    """What the user may do, as ACL SETUSER takes it."""
    (line,) = (one for one in TEMPLATE.read_text().splitlines() if one.startswith("user sessions "))
    filled = line.replace(">PASSWORD", "nopass").replace("PREFIX", prefix)
    return filled.split()[2:]


def shared_rules() -> list[str]:
    """What the user of the shared servers may do: everything of `rules`, with a second prefix too."""
    return [*rules(), *(rule for rule in rules(OTHER) if rule[0] in "~&")]


def set_user(node: RedisServer, user_rules: Sequence[str]) -> None:
    """Make the user, or replace it."""
    node.admin.execute_command("ACL SETUSER", "sessions", "reset", *user_rules)
    node.admin.execute_command("ACL LOG", "RESET")


def refusals(place: Place) -> list[tuple[str, ...]]:
    """What Redis has refused to that user."""
    return [
        tuple(str(entry[name]) for name in LOGGED)
        for node in place.nodes
        for entry in node.admin.execute_command("ACL LOG")
        if entry["username"] == "sessions"
    ]


def as_least_user(place: Place) -> Iterator[Place]:
    """The body of a fixture: `place`, whose `url` is that user's; at the end nothing has been refused."""
    for started in running(place):
        for node in place.nodes:
            set_user(node, shared_rules())
        place.url = place.url.replace("://", "://sessions@")
        yield started
        assert refusals(place) == []
