"""Locust's web page as `make loadtest-ui` opens it, and the reports of a run and of an experiment, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import httpx
import pytest
from matplotlib.figure import Figure
from playwright.sync_api import Browser, expect

from lab.report import paragraphs, preformatted, table
from lab.report import write_report as page_of
from lab.testbed.loadtest import start
from loadtest.report.page import write_report
from loadtest.verdict.verdict import Code, Verdict
from tests.browser.test_accessibility import serious
from tests.unit.loadtest.runs import SHORT, double, held_port
from tests.unit.loadtest.test_report import facts_of, history


@pytest.mark.long
def test_tabs_fill_while_it_runs(browser: Browser, tmp_path: Path) -> None:
    """After start, one tab counts the answers of each worker, another the checks of each invariant."""
    with double("none") as host, held_port() as port, browser.new_context() as context:
        process = start(host, tmp_path, *SHORT, "--web-port", str(port))
        try:
            assert process.stdout is not None
            while "press start" not in process.stdout.readline():
                pass
            page = context.new_page()
            page.goto(_until_it_listens(port))
            page.get_by_role("button", name="Start").click()
            page.get_by_role("tab", name="Workers of the stack").click(timeout=20_000)
            expect(page.get_by_role("cell", name="w4")).to_be_visible(timeout=20_000)
            page.get_by_role("tab", name="Violations").click()
            row = page.get_by_role("row").filter(has_text="read your writes")
            expect(row.get_by_role("cell").last).to_have_text("0")
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module", params=["load test", "experiment"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run that failed, and one of an experiment with all that is wide."""
    if request.param == "experiment":
        row = ["a word or two"] * 12
        parts = [*paragraphs(["A_SETTING_WITH_A_LONG_NAME_" * 3]), Figure(figsize=(13, 8))]
        parts += [table("Faults", row, [row]), preformatted(" ".join(row))]
        return page_of(tmp_path_factory.mktemp("lab"), "Faults on purpose", parts, {}, {})
    reasons = ((Code.CONSISTENCY, "no lost update: 1 violation"),)
    verdict = Verdict(Code.CONSISTENCY, "FAIL (exit code 10, a session was wrong)", reasons)
    return write_report(facts_of(history(), verdict), tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_on_a_phone(
    browser: Browser, report: Path, scheme: Literal["light", "dark"]
) -> None:
    """On a narrow screen, in the light and the dark, nothing sticks out and nothing keeps people from reading."""
    with browser.new_context(
        color_scheme=scheme, viewport={"width": 360, "height": 640}
    ) as context:
        page = context.new_page()
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert serious(page) == []


def _until_it_listens(port: int) -> str:
    """The page's address, once it can be asked for."""
    address = f"http://127.0.0.1:{port}"
    with httpx.Client(transport=httpx.HTTPTransport(retries=8), trust_env=False) as client:
        client.get(address).raise_for_status()
    return address
