"""The whole way in a real browser: demo, upload, prepare, train, stop, resume, generate, report, download."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
import psutil
import pytest
from accessibility import in_both_schemes, source
from app_servers import Servers
from forms import pick, settle
from helpers import tiny_counts_adata

from scdiff_core import jobs
from scdiff_core.engine import report_full
from scdiff_core.workspace import JobDir, Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
CANVAS = "canvas.cc-cells"
LONG = 240_000  # ms; a loaded machine of two cores


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that the whole file shares, as one person's work does."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], workspace: Path) -> str:
    """The address of the app."""
    return serve(ROOT / "app.py", workspace, {"SCDIFF_DATA_ROOT": str(workspace)})


def go(page: Page, name: str) -> None:
    """Click on a page's name in the bar on top."""
    page.get_by_role("link", name=name).first.click()
    page.get_by_role("heading", name=name, exact=True).wait_for(timeout=LONG)


def painted(page: Page, at_least: int) -> None:
    """Wait until the canvas has drawn so many cells."""
    deadline = time.monotonic() + LONG / 1000
    while time.monotonic() < deadline:
        drawn = page.locator(CANVAS)
        if drawn.count() and int(drawn.first.get_attribute("data-painted") or 0) >= at_least:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the canvas did not draw {at_least} cells")


def no_error(page: Page) -> None:
    """Assert that no error box and no traceback stands on the page."""
    assert page.locator("[data-testid=stAlertContentError]").count() == 0, page.locator(
        "[data-testid=stAlertContentError]").all_inner_texts()
    assert page.locator("[data-testid=stException]").count() == 0


def upload(page: Page, name: str, content: bytes) -> None:
    """Open a file of one's own on the Data page."""
    go(page, "Data")
    page.get_by_text("Open cells", exact=True).click()
    settle(page)
    if page.get_by_role("button", name="Another source").count():
        page.get_by_role("button", name="Another source").click()
    page.get_by_text("Where are your cells?").wait_for()
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "application/octet-stream",
                                                      "buffer": content})


def prepare(page: Page, name: str, content: bytes, cells: int) -> None:
    """Upload a file and prepare it."""
    upload(page, name, content)
    page.get_by_role("tab", name="What was found").wait_for(timeout=LONG)
    page.get_by_text("raw counts").first.wait_for()
    page.get_by_role("button", name="Prepare", exact=True).click()
    page.get_by_role("tab", name="Map of cells").wait_for(timeout=LONG)
    painted(page, cells)
    no_error(page)


def set_number(page: Page, label: str, value: int) -> None:
    """Fill a number field and leave it."""
    field = page.get_by_role("spinbutton", name=label, exact=True)
    field.fill(str(value))
    field.press("Enter")
    settle(page)


def train(page: Page, codec_steps: int, steps: int) -> None:
    """Start a quick training of so many steps."""
    go(page, "Train")
    page.get_by_text("Quick: a first look").click()
    field = page.get_by_role("spinbutton", name="Codec steps", exact=True)
    deadline = time.monotonic() + LONG / 1000
    while True:  # it stays as it was left, and what the page draws anew meanwhile may shut it
        settle(page)
        if field.is_visible() or time.monotonic() > deadline:
            break
        page.get_by_text("Advanced", exact=True).click()
    set_number(page, "Codec steps", codec_steps)
    set_number(page, "Diffusion steps", steps)
    before = page.evaluate("new URLSearchParams(location.search).get('run')")
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function("old => new URLSearchParams(location.search).get('run') !== old", arg=before, timeout=LONG)
    page.get_by_text("0 of ").or_(page.get_by_text("Time so far")).first.wait_for()
    settle(page)  # until what stood there of another run is gone


def goes_on(run: JobDir, step: int) -> None:
    """Wait until a run is beyond a step."""
    deadline = time.monotonic() + LONG / 1000
    while jobs.watch(run).step <= step and time.monotonic() < deadline:
        time.sleep(0.2)
    assert jobs.watch(run).step > step


def generate(page: Page, workspace: Path, wanted: str, cells: int, real: int, look: bool = False) -> anndata.AnnData:
    """Generate cells of one type and take the file along; before that look at all there is, if asked to."""
    page.get_by_role("button", name="Generate cells").click(timeout=LONG)
    page.get_by_role("heading", name="Generate", exact=True).wait_for()
    set_number(page, "How many cells", cells)
    pick(page, "cell type", wanted)
    page.get_by_role("button", name="Generate", exact=True).click()
    page.get_by_role("tab", name="Report card").wait_for(timeout=LONG)
    painted(page, real + cells)
    if look:
        page.get_by_role("tab", name="Marker figures").click()
        page.locator(".js-plotly-plot").first.wait_for(timeout=LONG)
        page.get_by_role("tab", name="Report card").click()
        page.get_by_text("as many real cells that were never trained on").wait_for(timeout=LONG)
    page.get_by_role("tab", name="Download").click()
    with page.expect_download(timeout=LONG) as download:
        page.get_by_role("button", name="Cells (.h5ad)").click()
    assert "synthetic" in download.value.suggested_filename
    no_error(page)
    target = workspace / "taken-along.h5ad"
    download.value.save_as(target)
    return anndata.read_h5ad(target)


def report(page: Page, chromium: Browser, run: JobDir, file: Path) -> None:
    """Have the report of a run made, cancelled and made again, and look at it as a file that needs nothing else."""
    go(page, "Runs")
    page.get_by_role("tab", name="Report", exact=True).click()
    page.get_by_role("button", name="Make the report").click()
    page.get_by_role("button", name="Cancel").click()
    again = page.get_by_role("button", name="Make the report")
    again.wait_for()
    assert report_full.read_report(run) is None

    again.click()
    page.get_by_role("button", name="Cancel").wait_for()
    page.get_by_role("button", name="Report (.html)").wait_for(timeout=2 * LONG)
    values = report_full.read_report(run)
    assert values is not None and values["n_cells"] > 100
    pictures = page.locator(".report-figure img")
    assert len(values["figures"]) >= 7
    pictures.nth(len(values["figures"]) - 1).wait_for()
    assert pictures.count() == len(values["figures"])
    pictures.first.scroll_into_view_if_needed()
    every = "[...document.querySelectorAll('.report-figure img')].every(i => i.naturalWidth > 100)"
    page.wait_for_function(f"() => {every}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Report (.html)").click()
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


def test_no_page_of_an_empty_workspace_has_a_serious_violation(browser_page: Page, app: str) -> None:
    page, axe = browser_page, source()
    page.goto(app)
    page.get_by_role("button", name="Try the demo").wait_for(timeout=LONG)
    settle(page)
    found = in_both_schemes(page, axe, "Home")
    for name in ("Data", "Train", "Generate", "Design", "Perturb", "Runs", "Methods"):
        go(page, name)
        settle(page)
        found += in_both_schemes(page, axe, name)
    assert found == [], "\n".join(found)


def test_the_demo_shows_real_and_generated_cells(browser_page: Page, app: str) -> None:
    page = browser_page
    page.goto(app)
    page.get_by_role("button", name="Try the demo").click()
    page.get_by_role("heading", name="Generate", exact=True).wait_for()
    painted(page, 692 + 500)
    no_error(page)


def test_the_whole_way_with_a_file_of_ones_own(
        browser_page: Page, chromium: Browser, app: str, workspace: Path, tmp_path: Path) -> None:
    page = browser_page
    page.goto(app)
    buffer = workspace / "mine.h5ad"
    tiny_counts_adata(400, 150).write_h5ad(buffer)
    prepare(page, "mine.h5ad", buffer.read_bytes(), 300)

    train(page, 40, 100_000)
    page.get_by_role("button", name="Stop", exact=True).wait_for(timeout=LONG)
    painted(page, 300)  # generated cells over real ones, while it trains
    page.get_by_role("tab", name="Learning curves").click()
    page.locator("canvas[data-zr-dom-id]").first.wait_for(timeout=LONG)
    assert re.search(r"run=[\w-]+", page.url)

    run = Workspace(workspace).list("train")[0]
    step = jobs.watch(run).step
    page.reload()  # the page can be refreshed: the run goes on and is found by its URL
    page.get_by_role("button", name="Stop", exact=True).wait_for(timeout=LONG)
    goes_on(run, step)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Resume", exact=True).wait_for(timeout=LONG)
    assert jobs.watch(run).state == "stopped"
    stopped_at = jobs.watch(run).step
    page.get_by_role("button", name="Resume", exact=True).click()
    page.get_by_role("button", name="Stop", exact=True).wait_for(timeout=LONG)
    goes_on(run, stopped_at)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Resume", exact=True).wait_for(timeout=LONG)

    train(page, 40, 60)
    made = generate(page, workspace, "B", 120, 300, look=True)
    assert made.n_obs == 120 and bool(made.obs["synthetic"].all())
    assert set(made.obs["cell_type"].astype(str)) == {"B"}
    assert np.all(made.X.data == np.round(made.X.data)) and "scdiff" in made.uns
    report(page, chromium, Workspace(workspace).list("train")[0], tmp_path / "report.html")

    upload(page, "synthetic.h5ad", (workspace / "taken-along.h5ad").read_bytes())  # and it opens here again
    page.get_by_role("tab", name="What was found").wait_for(timeout=LONG)
    no_error(page)


def test_a_wrong_file_is_told_in_plain_words(browser_page: Page, app: str) -> None:
    page = browser_page
    page.goto(app)
    for name, content, said in (("notes.h5ad", b"these are not cells\n" * 50, "notes.h5ad"),
                                ("cells.csv", b"cell,GeneA,GeneB\nc1,1,2\nc2,many,4\n", "many")):
        upload(page, name, content)
        box = page.locator("[data-testid=stAlertContentError]").filter(has_text=said).first
        box.wait_for(timeout=LONG)
        assert "Traceback" not in page.content()


@pytest.mark.real
@pytest.mark.slow
def test_the_whole_way_with_pbmc3k(browser_page: Page, app: str, workspace: Path, real_data: Path) -> None:
    page = browser_page
    page.goto(app)
    content = io.BytesIO((real_data / "pbmc3k_counts.h5ad").read_bytes()).getvalue()
    prepare(page, "pbmc3k_counts.h5ad", content, 2500)
    train(page, 60, 60)
    made = generate(page, workspace, "CD14+ Mono", 200, 2500)
    assert made.n_obs == 200 and made.n_vars == 2000


@pytest.mark.slow
def test_a_400_mb_upload_is_taken_and_its_memory_given_back(
        browser_page: Page, servers: Servers, app: str, workspace: Path, tmp_path: Path) -> None:
    page = browser_page
    server = psutil.Process(servers.running[app].pid)
    page.goto(app)
    go(page, "Data")
    page.get_by_text("Where are your cells?").wait_for()
    before = server.memory_info().rss
    large = tmp_path / "large.h5ad"
    with large.open("wb") as handle:
        handle.truncate(400_000_000)
    page.locator("input[type=file]").set_input_files(large)
    page.locator("[data-testid=stAlertContentError]").first.wait_for(timeout=LONG)  # it holds nothing but zeros
    saved = list((workspace / "uploads").rglob("large.h5ad"))
    assert [p.stat().st_size for p in saved] == [400_000_000]
    deadline = time.monotonic() + LONG / 1000
    while server.memory_info().rss > before + 150e6 and time.monotonic() < deadline:
        page.wait_for_timeout(500)
    assert server.memory_info().rss < before + 150e6
