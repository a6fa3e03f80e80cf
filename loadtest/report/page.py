"""Writes the files of a report: report.html, report.json, and each picture as SVG and PNG."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from loadtest.report import pictures
from loadtest.report.facts import Facts

HERE = Path(__file__).parent
STYLE = (HERE / "page.css").read_text(encoding="utf-8")
ROW_INCHES = 0.34  # of the violation's picture


def write_report(facts: Facts, folder: Path) -> Path:
    """Draw everything into `folder` and return the page, which needs none of the other files."""
    drawn = draw(facts)
    svgs = {name: pictures.as_svg(figure) for name, figure in drawn.items()}
    for name in ("violation.svg", "violation.png"):
        (folder / name).unlink(missing_ok=True)  # of an earlier run
    for name, figure in drawn.items():
        (folder / f"{name}.svg").write_text(svgs[name], encoding="utf-8")
        (folder / f"{name}.png").write_bytes(pictures.as_png(figure))
    facts.write(folder / "report.json")
    page = folder / "report.html"
    page.write_text(render(facts, svgs), encoding="utf-8")
    return page


def draw(facts: Facts) -> dict[str, Figure]:
    """The pictures by name; the violation's only when there is one."""
    side = 1.6 + 0.62 * max(2, min(10, len(facts.workers)))
    drawn = {
        "overview": pictures.overview(facts),
        "workers": pictures.picture(pictures.draw_workers, facts, 3.4),
        "hops": pictures.picture(pictures.draw_hops, facts, side),
        "latency": pictures.picture(pictures.draw_latency, facts, 3.8),
        "over-time": pictures.picture(pictures.draw_over_time, facts, 3.0),
    }
    if facts.violation:
        height = 1.8 + ROW_INCHES * len(facts.violation["requests"])
        drawn["violation"] = pictures.picture(pictures.draw_violation, facts, height)
    return drawn


def render(facts: Facts, svgs: dict[str, str]) -> str:
    """The page. All text is escaped; the pictures are our own and are not."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    marked = {name: Markup(svg) for name, svg in svgs.items()}
    hops = sum(map(sum, facts.hops))
    return environment.get_template("page.html").render(facts=facts, pictures=marked, hops=hops)
