"""No serious accessibility violation on any page: axe-core, in the browser, light and dark, empty and with the demo.

axe-core comes with the package axe-playwright-python; nothing is fetched. It looks into open shadow roots, so the
cell canvas is looked at like all else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from accessibility import LONG, settle, source, violations

from scdiff_core import demo_model, jobs
from scdiff_core.config import InspectConfig
from scdiff_core.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("Home", "Train", "Generate", "Perturb", "Runs", "Methods")
TABS = (("Data", "Compare"), ("Data", "Marker figures"), ("Generate", "Report card"), ("Generate", "Download"),
        ("Runs", "Cells"), ("Runs", "Report"))  # those behind the first of each page


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, from the installed package."""
    return source()


@pytest.fixture(scope="module")
def demo(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app on a workspace with the demo, its source opened for the findings; the address with its ids."""
    space = Workspace(tmp_path_factory.mktemp("axe-demo"))
    dataset, run = demo_model.install(space)
    source = jobs.create(space, InspectConfig(source="demo:pbmc68k"))
    from scdiff_core.engine.run_job import run_job

    assert run_job(source.path) == 0
    return f"{serve(ROOT / 'app.py', space.root)}/?dataset={dataset.id}&run={run.id}|{source.id}"


@pytest.fixture(scope="module")
def empty(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app on a workspace with nothing in it."""
    return serve(ROOT / "app.py", tmp_path_factory.mktemp("axe-empty"))


def go(page: Page, name: str) -> None:
    """Click on a page's name in the bar on top."""
    page.get_by_role("link", name=name, exact=True).first.click()
    page.wait_for_url(f"**/{'' if name == 'Home' else name.lower()}*", timeout=LONG)
    if name != "Home":
        page.get_by_role("heading", name=name, exact=True, level=1).wait_for(timeout=LONG)
    settle(page)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_the_demo_has_a_serious_violation(
        open_page: Callable[..., Page], demo: str, axe: str, scheme: str) -> None:
    address, source = demo.split("|")
    page = open_page(color_scheme=scheme)
    page.goto(address)
    page.get_by_role("link", name="Data", exact=True).first.wait_for()
    settle(page)
    found = []
    for name in PAGES:
        go(page, name)
        found += violations(page, axe, name)
    for name, tab in TABS:
        if page.get_by_role("heading", name=name, exact=True, level=1).count() == 0:
            go(page, name)
        opened = page.get_by_role("tab", name=tab, exact=True)
        if name == "Generate" and opened.count() == 0:  # the demo comes without generated cells
            page.get_by_role("button", name="Generate", exact=True).click()
            opened.wait_for(timeout=2 * LONG)
        opened.click()
        settle(page)
        found += violations(page, axe, f"{name}, {tab}")
    go(page, "Data")
    page.get_by_text("Prepared datasets", exact=True).click()
    page.locator("canvas.cc-cells").first.wait_for(timeout=LONG)
    settle(page)
    found += violations(page, axe, "Data, prepared")
    page.locator(".st-key-page_help button").first.click()
    page.wait_for_timeout(500)
    found += violations(page, axe, "Data, help")
    page.keyboard.press("Escape")
    page.get_by_text("Open cells", exact=True).click()
    page.get_by_text("Where are your cells?").wait_for()
    settle(page)
    found += violations(page, axe, "Data, source")
    page.goto(address.replace("/?", "/data?") + f"&source={source}")
    page.get_by_role("tab", name="What was found").wait_for(timeout=LONG)
    settle(page)
    found += violations(page, axe, "Data, findings")
    page.get_by_role("tab", name="Quality").click()
    settle(page)
    found += violations(page, axe, "Data, quality")
    go(page, "Home")
    page.get_by_role("button", name="Show me round").click()
    page.get_by_text("1 of 5").wait_for(timeout=LONG)
    settle(page)
    found += violations(page, axe, "The tour")
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_an_empty_workspace_has_a_serious_violation(
        open_page: Callable[..., Page], empty: str, axe: str, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    page.goto(empty)
    page.get_by_role("button", name="Try the demo").wait_for()
    settle(page)
    found = []
    for name in (*PAGES, "Data"):
        go(page, name)
        found += violations(page, axe, name)
    assert found == [], "\n".join(found)
