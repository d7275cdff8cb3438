"""No serious accessibility violation on any page: axe-core, in the browser, light and dark, with the demo.

An empty workspace is looked at where the whole way begins (test_e2e_whole_way).

axe-core comes with the package axe-playwright-python; nothing is fetched. It looks into open shadow roots, so the
cell canvas is looked at like all else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from accessibility import LONG, in_both_schemes, source
from app_servers import App
from forms import settle

from scdiff_core import jobs
from scdiff_core.config import InspectConfig
from scdiff_core.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = ("Home", "Train", "Generate", "Design", "Perturb", "Runs", "Methods")
TABS = (("Data", "Compare"), ("Data", "Marker figures"), ("Generate", "Report card"), ("Generate", "Download"),
        ("Runs", "Cells"), ("Runs", "Report"))  # those behind the first of each page


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, from the installed package."""
    return source()


@pytest.fixture(scope="module")
def opened(demo_app: App) -> str:
    """The id of a source that was opened for what is found in it."""
    source = jobs.create(Workspace(demo_app.workspace), InspectConfig(source="demo:pbmc68k"))
    from scdiff_core.engine.run_job import run_job

    assert run_job(source.path) == 0
    return source.id


def go(page: Page, name: str) -> None:
    """Click on a page's name in the bar on top."""
    page.get_by_role("link", name=name, exact=True).first.click()
    page.wait_for_url(f"**/{'' if name == 'Home' else name.lower()}*", timeout=LONG)
    if name != "Home":
        page.get_by_role("heading", name=name, exact=True, level=1).wait_for(timeout=LONG)
    settle(page)


@pytest.mark.slow
def test_no_page_of_the_demo_has_a_serious_violation(
        browser_page: Page, demo_app: App, axe: str, opened: str) -> None:
    page = browser_page
    address = f"{demo_app.url}/?dataset={demo_app.dataset}&run={demo_app.run}"
    page.goto(address)
    page.get_by_role("link", name="Data", exact=True).first.wait_for(timeout=LONG)
    settle(page)
    found = []
    for name in PAGES:
        go(page, name)
        found += in_both_schemes(page, axe, name)
    for name, tab in TABS:
        if page.get_by_role("heading", name=name, exact=True, level=1).count() == 0:
            go(page, name)
        behind = page.get_by_role("tab", name=tab, exact=True)
        if name == "Generate" and behind.count() == 0:  # the demo comes without generated cells
            page.get_by_role("button", name="Generate", exact=True).click()
            behind.wait_for(timeout=2 * LONG)
        behind.click()
        settle(page)
        found += in_both_schemes(page, axe, f"{name}, {tab}")
    go(page, "Data")
    page.get_by_text("Prepared datasets", exact=True).click()
    page.locator("canvas.cc-cells").first.wait_for(timeout=LONG)
    settle(page)
    found += in_both_schemes(page, axe, "Data, prepared")
    page.locator(".st-key-page_help button").first.click()
    page.locator("[data-testid=stPopoverBody]").first.wait_for(timeout=LONG)
    settle(page)
    found += in_both_schemes(page, axe, "Data, help")
    page.keyboard.press("Escape")
    page.get_by_text("Open cells", exact=True).click()
    page.get_by_text("Where are your cells?").wait_for(timeout=LONG)
    settle(page)
    found += in_both_schemes(page, axe, "Data, source")
    page.goto(address.replace("/?", "/data?") + f"&source={opened}")
    page.get_by_role("tab", name="What was found").wait_for(timeout=LONG)
    settle(page)
    found += in_both_schemes(page, axe, "Data, findings")
    page.get_by_role("tab", name="Quality").click()
    settle(page)
    found += in_both_schemes(page, axe, "Data, quality")
    go(page, "Home")
    page.get_by_role("button", name="Show me round").click()
    page.get_by_text("1 of 6").wait_for(timeout=LONG)
    settle(page)
    found += in_both_schemes(page, axe, "The tour")
    assert found == [], "\n".join(found)
