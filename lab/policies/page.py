"""The comparison as one HTML file that needs nothing else."""

import html
from collections.abc import Sequence

from lab.policies import plots
from lab.policies.results import Results
from lab.policies.table import render
from loadtest.report.svg import svg_element

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b2330; background: #fff }
pre { overflow-x: auto; background: #f4f6f9; padding: 1rem; font-size: 13px }
svg { max-width: 100%; height: auto }
.warning { background: #fcebea; color: #a51d18; padding: .5rem 1rem }
"""


def page(results: Results, sentences: Sequence[str], about: Sequence[str]) -> str:
    """`sentences` are the findings, `about` says how and where it was measured."""
    parts = ["<h1>Balancing policies, measured and simulated</h1>"]
    if results.interrupted:
        parts.append('<p class="warning">Interrupted: this is what was finished before.</p>')
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in sentences]
    if results.outcomes:
        parts.append(svg_element(plots.curves(results)))
        parts.append(svg_element(plots.means(results)))
        parts.append(f"<pre>{html.escape(render(results))}</pre>")
    if results.trapped:
        parts.append(svg_element(plots.trap(results.trapped)))
    parts.append("<h2>How it was measured</h2>")
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in about]
    head = f'<meta charset="utf-8"><title>Balancing policies</title><style>{STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
