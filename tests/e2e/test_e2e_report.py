"""The full report in a real browser: made from the Runs page, cancelled, made again, and opened from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scdiff_core import demo_model
from scdiff_core.engine import report_full
from scdiff_core.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
SLOW = 300_000  # ms; thorough forests on a busy machine


@pytest.mark.slow
def test_a_report_is_made_cancelled_made_again_and_needs_nothing_else(
        serve: Callable[..., str], open_page: Callable[..., Page], chromium: Browser, tmp_path: Path) -> None:
    demo_model.install(Workspace(tmp_path / "w"))
    run = Workspace(tmp_path / "w").open("train", demo_model.NAME)
    page = open_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{serve(ROOT / 'app.py', tmp_path / 'w')}/runs?run={demo_model.NAME}")
    page.get_by_role("tab", name="Report").click(timeout=60_000)
    page.get_by_role("button", name="Make the report").click()
    page.get_by_role("button", name="Cancel").click(timeout=30_000)
    again = page.get_by_role("button", name="Make the report")
    again.wait_for(timeout=30_000)
    assert report_full.read_report(run) is None

    again.click()
    page.get_by_role("button", name="Cancel").wait_for(timeout=30_000)
    page.get_by_role("button", name="Report (.html)").wait_for(timeout=SLOW)
    values = report_full.read_report(run)
    assert values is not None and values["n_cells"] > 100
    pictures = page.locator(".report-figure img")
    assert pictures.count() == len(values["figures"]) >= 7
    pictures.first.scroll_into_view_if_needed()
    every = "[...document.querySelectorAll('.report-figure img')].every(i => i.naturalWidth > 100)"
    page.wait_for_function(f"() => {every}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Report (.html)").click()
    file = tmp_path / "report.html"
    download.value.save_as(file)

    for scheme in ("light", "dark"):
        context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme,  # type: ignore[arg-type]
                                       java_script_enabled=False, offline=True)
        alone = context.new_page()
        asked: list[str] = []
        alone.on("request", lambda request, kept=asked: kept.append(request.url))
        alone.goto(file.as_uri())
        assert all(url.startswith(("data:", "file:")) for url in asked)
        assert alone.locator("figure img").count() == len(values["figures"])
        assert alone.get_by_text(values["rows"][0]["title"], exact=True).is_visible()
        wide = [box["width"] for t in alone.locator(".wide").all() if (box := t.bounding_box()) is not None]
        assert wide and max(wide) <= 1240  # nothing is wider than the window
        context.close()
