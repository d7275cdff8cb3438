"""Exploring in a real browser: lasso, differential expression on it, saving, reusing, exporting."""

from __future__ import annotations

import io
import json
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from app_servers import App
from forms import pick, settle

from scdiff_core.data.prepared import Prepared
from scdiff_core.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]
LONG = 120_000  # ms; a loaded machine of two cores


@pytest.fixture(scope="module")
def app(demo_app: App) -> str:
    """The address of the app."""
    return demo_app.url


@pytest.fixture(scope="module")
def dataset(demo_app: App) -> Prepared:
    """The demo's real cells."""
    return Prepared.open(Workspace(demo_app.workspace).open("prepare", demo_app.dataset))


def canvas_of(page: Page, cells: int) -> Locator:
    """Wait until the first canvas has drawn so many cells, and return it."""
    canvas = page.locator("canvas.cc-cells").first
    canvas.wait_for(timeout=LONG)
    deadline = time.monotonic() + LONG / 1000
    while time.monotonic() < deadline:
        if int(canvas.get_attribute("data-painted") or 0) >= cells:
            return canvas
        page.wait_for_timeout(100)
    raise AssertionError(f"the canvas did not draw {cells} cells")


def lasso(page: Page, canvas: Locator, corners: list[tuple[float, float]]) -> None:
    """Draw a lasso round a part of the canvas, its corners as shares of its width and height."""
    page.get_by_role("button", name="Lasso").first.click()
    canvas.scroll_into_view_if_needed()
    settle(page)
    box = canvas.bounding_box()
    assert box
    points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in [*corners, corners[0]]]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def selected(page: Page) -> int:
    """Return how many cells the bar under the map says are selected."""
    line = page.locator("[data-testid=stMarkdownContainer]").filter(has_text=re.compile(r"^\s*[\d,]+ selected")).last
    line.wait_for(timeout=LONG)
    found = re.search(r"([\d,]+) selected", line.inner_text())
    assert found
    return int(found[1].replace(",", ""))


def in_url(page: Page, pattern: str) -> str:
    """Wait until the address holds a pattern, and return its first group."""
    page.wait_for_function("want => new RegExp(want).test(location.search)", arg=pattern, timeout=LONG)
    found = re.search(pattern, page.url)
    assert found
    return found[1]


def download(page: Page, button: Locator) -> bytes:
    """Press a button and return the file it gives."""
    with page.expect_download(timeout=LONG) as caught:
        button.click()
    return Path(caught.value.path()).read_bytes()


def open_tab(page: Page, name: str) -> None:
    """Open a tab."""
    page.get_by_role("tab", name=name, exact=True).click()


def test_lasso_compare_save_reuse_and_take_along(browser_page: Page, app: str, dataset: Prepared) -> None:
    page = browser_page
    page.goto(f"{app}/data?dataset={dataset.name}")
    canvas = canvas_of(page, dataset.n_cells)
    lasso(page, canvas, [(0.08, 0.2), (0.6, 0.2), (0.6, 0.9), (0.08, 0.9)])
    number = in_url(page, r"sel=([0-9a-f]{12})")
    many = selected(page)
    assert 20 < many < dataset.n_cells - 20

    # a smaller selection, and back again
    lasso(page, canvas, [(0.08, 0.2), (0.6, 0.2), (0.6, 0.6), (0.08, 0.6)])
    page.wait_for_function("old => !location.search.includes(old)", arg=number, timeout=LONG)
    page.locator("[class*=st-key-look-undo]").get_by_role("button").click()
    assert in_url(page, rf"sel=({number})") == number

    # saved under a name, and there after a refresh
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_label("Name of these cells").fill("a part")
    page.get_by_role("button", name="Save these cells").click()
    page.get_by_role("button", name="Saved (1)").wait_for(timeout=LONG)
    page.reload()
    canvas_of(page, dataset.n_cells)
    assert selected(page) == many
    page.get_by_text("saved as").wait_for()

    # the map as a drawing and as numbers
    files = page.locator("[class*=st-key-figure_files]")
    root = ET.fromstring(download(page, files.get_by_role("button", name="SVG")))
    assert root.tag.endswith("svg")
    assert "UMAP 1" in "".join(root.itertext())
    table = pd.read_csv(io.BytesIO(download(page, files.get_by_role("button", name="CSV"))))
    assert len(table) == dataset.n_cells
    assert int(table["selected"].sum()) == many

    # which genes tell it apart
    open_tab(page, "Compare")
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=LONG)
    assert f"{many:,} cells against" in page.get_by_text(re.compile("cells against")).first.inner_text()
    files = page.locator("[class*=st-key-figure_files]")
    genes = pd.read_csv(io.BytesIO(download(page, files.get_by_role("button", name="CSV"))), keep_default_na=False)
    assert set(genes["gene"]) == set(dataset.genes.tolist())
    # the same by hand: the means of the selected cells are those of the table
    chosen = table.set_index("cell")["selected"].reindex(dataset.obs.index.astype(str)).to_numpy(bool)
    first = genes.iloc[0]
    values = dataset.log1p()[:, [int((dataset.genes == first["gene"]).argmax())]].toarray().ravel()
    assert float(first["mean_a"]) == pytest.approx(values[chosen].mean(), rel=1e-4)
    assert float(first["mean_b"]) == pytest.approx(values[~chosen].mean(), rel=1e-4, abs=1e-6)
    assert ET.fromstring(download(page, files.get_by_role("button", name="SVG"))).tag.endswith("svg")

    # and on another page it is one of the colours, and one of the sides
    page.get_by_role("link", name="Generate").first.click()
    page.get_by_role("heading", name="Generate", exact=True).wait_for()
    canvas_of(page, dataset.n_cells)
    assert selected(page) == many
    pick(page, "Colour by", "my cells: a part")
    assert in_url(page, r"colour=([^&]+)") == "my+cells%3A+a+part"
    page.locator(".cc-legend").get_by_text("a part").first.wait_for(timeout=LONG)


def test_a_session_is_taken_along_and_opened_again(
        open_page: Callable[..., Page], app: str, dataset: Prepared, tmp_path: Path) -> None:
    gene = str(dataset.genes[3])
    page = open_page()
    page.goto(f"{app}/data?dataset={dataset.name}&colour={gene}&map=PCA")
    canvas = canvas_of(page, dataset.n_cells)
    lasso(page, canvas, [(0.1, 0.2), (0.5, 0.2), (0.5, 0.8), (0.1, 0.8)])
    number = in_url(page, r"sel=([0-9a-f]{12})")
    page.get_by_role("button", name="More", exact=True).click()
    open_tab(page, "Session")
    data = download(page, page.get_by_role("button", name="Save session"))
    said = json.loads(data)
    assert (said["view"]["colour"], said["view"]["place"], said["view"]["selection"]) == (gene, "PCA", number)

    other = open_page(color_scheme="dark", viewport={"width": 1920, "height": 1080})
    other.goto(f"{app}/data?dataset={dataset.name}")
    canvas_of(other, dataset.n_cells)
    other.get_by_role("button", name="More", exact=True).click()
    open_tab(other, "Session")
    other.locator("[class*=st-key-look-session] input[type=file]").set_input_files(
        {"name": "session.json", "mimeType": "application/json", "buffer": data})
    assert in_url(other, r"sel=([0-9a-f]{12})") == number
    assert in_url(other, r"colour=([^&]+)") == gene

    # a file that is none is told in plain words, and nothing is lost
    other.locator("[class*=st-key-look-session] input[type=file]").set_input_files(
        {"name": "session.json", "mimeType": "application/json", "buffer": b"{not json"})
    other.get_by_text("The session cannot be opened.").wait_for(timeout=LONG)
    assert in_url(other, r"sel=([0-9a-f]{12})") == number


def test_gates_groups_split_and_a_gene_set(browser_page: Page, app: str, dataset: Prepared) -> None:
    page = browser_page
    page.goto(f"{app}/data?dataset={dataset.name}&split=phase")
    page.locator("canvas.cc-cells").nth(2).wait_for(timeout=LONG)  # a panel for each phase of the cell cycle
    page.get_by_role("button", name="Gate").click()
    open_tab(page, "By groups")
    label = str(dataset.labels("bulk_labels")[0])
    pick(page, "Groups", label)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Select these groups").click()
    in_url(page, r"sel=([0-9a-f]{12})")
    assert selected(page) == int((dataset.labels("bulk_labels") == label).sum())
    page.keyboard.press("Escape")

    page.get_by_role("button", name="More", exact=True).click()
    open_tab(page, "Gene sets")
    text = "MY_SET\thand made\t" + "\t".join(dataset.genes[:12].tolist()) + "\n"
    page.locator("[class*=st-key-look-gmt] input[type=file]").set_input_files(
        {"name": "mine.gmt", "mimeType": "text/plain", "buffer": text.encode()})
    in_url(page, r"colour=(gene\+set%3A\+MY_SET)")
    page.locator(".cc-legend").get_by_text("MY_SET (score)").first.wait_for(timeout=LONG)
