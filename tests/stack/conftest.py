"""What the tests through nginx use: visitors, and a second nginx whose files are changed on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

import pytest

from deploy.native.scratch import Scratch
from lab.testbed.second_nginx import replaced, second_nginx
from tests.stack.visitor import Visitor, new_visitor


@pytest.fixture
def visitor(site: str) -> Iterator[Visitor]:
    """A browser that nobody knows yet."""
    with new_visitor(site) as visitor:
        yield visitor


@pytest.fixture
def member(site: str) -> Iterator[Visitor]:
    """A browser that has logged in."""
    with new_visitor(site) as visitor:
        visitor.log_in()
        yield visitor


ChangedNginx = Callable[..., str]
# Nobody is exempt from the limits, except who claims an address that is: the change for changed_nginx.
NOBODY_EXEMPT = ("limits.conf", "geo $exempt {", "geo $http_x_address $exempt {")


@pytest.fixture
def changed_nginx(stack: Scratch, tmp_path: Path) -> Iterator[ChangedNginx]:
    """Starts another nginx before the workers of a stack, with `old` replaced by `new` in one file.

    Returns its address, with `https` the one over https.  This is how a test shows that it would
    notice the line missing.  `dealt`: the kernel deals new connections out to the nginx processes;
    otherwise whichever wakes first takes them, and that may be the same one every time.
    """
    with ExitStack() as running:

        def start(
            file: str,
            old: str,
            new: str,
            before: Scratch = stack,
            *,
            https: bool = False,
            dealt: bool = False,
        ) -> str:
            changes = {file: replaced(old, new)}
            if dealt:
                changes["site.conf"] = replaced(" default_server ", " default_server reuseport ")
            folder = Path(mkdtemp(dir=tmp_path))
            front = second_nginx(before, folder, changes)
            at = running.enter_context(front)
            return at.https_url if https else at.url

        yield start
