"""The README's page about the engine: its code runs, and its table tells the truth."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path

from app import sessions as engine
from app.sessions import RedisSessions
from lab.testbed.servers import Place

README = (Path(__file__).parents[2] / "README.md").read_text()
SCRIPT = """\
async def page(redis_url):
    from app.sessions import Limits, Pipeline, RedisSessions
{body}
    assert await sessions.load(session_id) is None
    await sessions._pipeline.close()
    return visits
"""


async def test_code_of_the_readme(place: Place) -> None:
    """The one Python block of the README runs as it stands, on one server and on a cluster."""
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(SCRIPT.format(body=textwrap.indent(block, "    ")), names)
    page = names["page"]
    assert callable(page)
    assert await page(place.url) == 1


def test_methods_of_the_readme() -> None:
    """The table names every public method, and every exception it names exists."""
    table = [line for line in README.splitlines() if line.startswith("| `")]
    named = {name for line in table for name in re.findall(r"`([a-z_]+)\(", line)}
    public = {
        name
        for name, member in inspect.getmembers(RedisSessions, inspect.isfunction)
        if not name.startswith("_")
    }
    errors = {name for line in table for name in re.findall(r"`([A-Z][A-Za-z]+)`", line)}

    assert named == public - {"check"}  # that one is for a worker's start
    assert errors
    assert all(hasattr(engine, name) for name in errors), errors
