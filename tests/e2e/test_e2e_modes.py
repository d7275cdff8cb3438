"""The modes of generation in a real browser: a path, cells changed in one respect, and a label by a classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from app_servers import App
from forms import pick, settle

from scdiff_core.engine.outputs import list_sets
from scdiff_core.workspace import JobDir, Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Page

LONG = 180_000  # ms; a loaded machine of two cores


@pytest.fixture
def run(demo_app: App) -> JobDir:
    """The demo's run."""
    return Workspace(demo_app.workspace).list("train")[0]


def open_mode(page: Page, app: App, mode: str) -> None:
    page.goto(f"{app.url}/generate", timeout=LONG)
    page.get_by_role("button", name="Generate", exact=True).wait_for(timeout=LONG)
    settle(page)
    page.get_by_text(mode, exact=True).first.click()
    settle(page)


def test_a_path_over_the_map_and_gene_by_gene(browser_page: Page, demo_app: App, run: JobDir) -> None:
    page = browser_page
    open_mode(page, demo_app, "Trajectory")
    page.get_by_label("Cells of the whole path").fill("90")
    page.get_by_label("Cells of the whole path").press("Enter")
    page.get_by_role("button", name="Generate path").click()
    page.get_by_role("tab", name="Path").wait_for(timeout=LONG)
    page.get_by_role("tab", name="Path").click()
    page.get_by_text("median of each position").first.wait_for(timeout=LONG)
    page.get_by_role("tab", name="Gene curves").click()
    page.get_by_text("position on the path").first.wait_for(timeout=LONG)
    with page.expect_download(timeout=LONG) as file:
        page.get_by_role("button", name="CSV").first.click()
    lines = Path(file.value.path()).read_text().splitlines()
    assert lines[0] == "source,position,gene,mean,sd" and "synthetic" in lines[1]
    made = list_sets(run, "trajectory")[0]
    assert sorted(set(made.cells().obs["position"])) == [i / 8 for i in range(9)]


def test_cells_are_changed(browser_page: Page, demo_app: App, run: JobDir) -> None:
    page = browser_page
    open_mode(page, demo_app, "From my cells")
    page.get_by_role("button", name="Change cells").click()
    page.get_by_text("from_cell").first.wait_for(timeout=LONG)
    page.get_by_role("tab", name="Report card").click()
    page.get_by_text("real against real").first.wait_for(timeout=LONG)
    assert list_sets(run, "change")[0].cells().obs["from_cell"].notna().all()


def test_cells_are_guided_to_a_label_that_the_model_does_not_know(browser_page: Page, demo_app: App,
                                                                  run: JobDir) -> None:
    page = browser_page
    open_mode(page, demo_app, "New cells")
    page.get_by_label("How many cells").fill("60")
    page.get_by_label("How many cells").press("Enter")
    page.get_by_text("Advanced", exact=True).click()
    pick(page, "A label the model was not trained with", "phase")
    pick(page, "Guide towards, in phase", "S")
    before = len(list_sets(run))
    page.get_by_role("button", name="Generate", exact=True).click()
    page.get_by_text("phase: S").first.wait_for(timeout=LONG)
    assert len(list_sets(run)) == before + 1
    made = list_sets(run)[0]
    assert json.loads(made.cells().uns["scdiff"])["config"]["classifier"][0]["column"] == "phase"
    assert any((run.path / "classifiers").glob("*.safetensors"))
