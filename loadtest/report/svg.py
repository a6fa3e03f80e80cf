"""A picture as an element of an HTML page that needs no other file."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


def svg_element(figure: Figure) -> str:
    """The SVG element alone, as HTML takes it, without a date or what drew it."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
