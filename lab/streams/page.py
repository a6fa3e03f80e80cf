"""The run as one HTML file that needs nothing else."""

import html
from collections.abc import Sequence

from lab.streams import plots
from lab.streams.results import Found, goals
from lab.streams.table import render
from loadtest.report.svg import svg_element

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b2330; background: #fff }
pre { overflow-x: auto; background: #f4f6f9; padding: 1rem; font-size: 13px }
svg { max-width: 100%; height: auto }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }
.missed, .warning { color: #a51d18 }
"""


def page(found: Found, about: Sequence[str]) -> str:
    """`about` says how and where it was measured."""
    parts = ["<h1>Long connections</h1>"]
    if found.interrupted:
        parts.append('<p class="warning">Interrupted: this is what was done before.</p>')
    parts.append(_goals(found))
    if found.steps:
        parts.append(svg_element(plots.draw(found)))
    parts.append(f"<pre>{html.escape(render(found))}</pre>")
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in about]
    head = f'<meta charset="utf-8"><title>Long connections</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _goals(found: Found) -> str:
    rows = [
        f'<tr class="{goal.word.lower()}"><td>{goal.word.lower()}</td>'
        f"<td>{html.escape(goal.text)}</td><td>{html.escape(goal.measured)}</td></tr>"
        for goal in goals(found)
    ]
    return "<table><tr><th></th><th>goal</th><th>measured</th></tr>" + "".join(rows) + "</table>"
