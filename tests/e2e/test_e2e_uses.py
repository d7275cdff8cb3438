"""Denoise, Fill up and Typical in a browser, from the press of the button to the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
from app_servers import App
from forms import settle

from scdiff_core import keys

if TYPE_CHECKING:
    from playwright.sync_api import Page


def mode(page: Page, name: str) -> None:
    settle(page)
    page.get_by_role("radio", name=name).or_(page.get_by_role("button", name=name, exact=True)).first.click()
    settle(page)


def press(page: Page, key: str) -> None:
    page.locator(f".st-key-{key} button").click()


def saved(page: Page, key: str, folder: Path) -> anndata.AnnData:
    with page.expect_download() as download:
        press(page, key)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return anndata.read_h5ad(path)


def test_real_cells_are_denoised_rare_types_filled_up_and_odd_cells_found(demo_app: App, browser_page: Page,
                                                                          tmp_path: Path) -> None:
    page = browser_page
    page.goto(f"{demo_app.url}/generate?run={demo_app.run}")
    page.get_by_role("button", name="Generate", exact=True).wait_for()
    mode(page, "Denoise")
    press(page, "denoise_go")
    page.get_by_text("estimated by the model, not measured").wait_for()
    cells = saved(page, "denoise_download", tmp_path)
    assert np.all(cells.X.data == np.round(cells.X.data)) and cells.layers["denoised"].shape == cells.shape
    mode(page, "Fill up rare types")
    press(page, "fill_go")
    page.get_by_text("generated cells of").first.wait_for()
    page.get_by_role("tab", name="Download").click()
    cells = saved(page, "fill_download", tmp_path)
    assert cells.obs[keys.SYNTHETIC].all() and cells.n_obs > 1000
    mode(page, "Typical or odd")
    press(page, "typical_go")
    page.get_by_text("beyond the cut.").wait_for()
    page.get_by_placeholder("Name of a cell, or a cell type").fill("nobody")
    page.keyboard.press("Enter")
    page.get_by_text("No cell is called").wait_for()
