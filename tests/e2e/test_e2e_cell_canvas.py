"""The cell scatter in a real browser: it paints, keeps its view while data change, and tells about cells."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SCRIPT = '''
import numpy as np
import streamlit as st
from pages._shared.cell_canvas import Layer, cell_canvas

st.set_page_config(layout="wide")
state = st.session_state
state.setdefault("step", 0)
if st.button("new snapshot"):
    state.step += 1
if st.button("other cells"):
    state.other = 1
by = st.radio("colour", ["type", "depth"], horizontal=True)
shown = st.checkbox("shown", value=True)

# three round groups of 200 in the corners, and one cell alone in the middle of the frame
rng = np.random.default_rng(0)
centres = np.array([[-8.0, -8.0], [8.0, -8.0], [0.0, 8.0]])
codes = np.repeat([0, 1, 2], 200)
xy = centres[codes] + rng.uniform(-2, 2, (600, 2))
frame = np.array([[-10, -10], [10, 10], [-10, 10], [10, -10], [0, 0]], float)
xy = np.concatenate([xy, frame]) * (2 if "other" in state else 1)
codes = np.concatenate([codes, [0, 0, 0, 0, 2]])
depth = np.linspace(100, 2000, len(xy))
walk = np.random.default_rng(state.step)
made = centres[np.arange(90) % 3] + walk.uniform(-2, 2, (90, 2))
layers = [
    Layer("real", xy, codes=codes if by == "type" else None, values=None if by == "type" else depth,
          hover={"donor": np.array(["D1", "D2"])[np.arange(len(xy)) % 2]}),
    Layer("generated", made, "ring", codes=np.arange(90) % 3),
]
if shown:
    cell_canvas(layers, key="cells", categories=["B cell", "T cell", "<b>NK</b>"], height=480, labels=True,
                palette=["#0072B2", "#D55E00", "#000000"], colour_title=by,
                summary="Map of 605 real and 90 generated cells")
'''
CANVAS = "canvas.cc-cells"


@pytest.fixture(scope="module")
def url(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("canvas")
    script = folder / "cells.py"
    script.write_text(SCRIPT, encoding="utf-8")
    return serve(script, folder / "workspace")


def show(page: Page, url: str) -> Locator:
    page.goto(url)
    page.wait_for_selector(f"{CANVAS}[data-painted='695']")
    return page.locator(CANVAS)


def said(canvas: Locator, name: str) -> float:
    return float(canvas.get_attribute(f"data-{name}") or "nan")


def wait(page: Page, name: str, test: str) -> None:
    """Wait until the canvas's attribute passes a JavaScript test of `value`."""
    page.locator(CANVAS).evaluate(
        f"""canvas => new Promise((done, fail) => {{
            const give = setTimeout(() => fail(new Error("{name}: " + canvas.dataset["{name}"])), 120000);
            const look = () => {{
                const value = Number(canvas.dataset["{name}"]);
                if ({test}) {{ clearTimeout(give); done(); }} else requestAnimationFrame(look);
            }};
            look();
        }})"""
    )


def pixels(target: Locator) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(target.screenshot())).convert("RGB")).astype(int)


def near(image: np.ndarray, colour: tuple[int, int, int], within: int = 30) -> int:
    return int((np.abs(image - np.array(colour)).max(axis=-1) <= within).sum())


def middle(canvas: Locator) -> tuple[float, float]:
    box = canvas.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_cells_are_painted_in_their_colours(browser_page: Page, url: str) -> None:
    canvas = show(browser_page, url)
    assert canvas.get_attribute("data-renderer") == "webgl2"
    assert canvas.get_attribute("role") == "application"
    assert canvas.get_attribute("aria-label") == "Map of 605 real and 90 generated cells"
    image = pixels(canvas)
    assert near(image, (0, 114, 178)) > 300
    assert near(image, (213, 94, 0)) > 300
    # B cells (blue) in the lower left, T cells (vermilion) in the lower right
    half = image.shape[1] // 2
    assert near(image[:, :half], (0, 114, 178)) > 5 * near(image[:, half:], (0, 114, 178))
    assert near(image[:, half:], (213, 94, 0)) > 5 * near(image[:, :half], (213, 94, 0))


def test_new_data_and_colours_keep_view_and_node(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    canvas.evaluate("canvas => { canvas.mine = true; }")
    x, y = middle(canvas)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -500)
    wait(page, "zoom", "value > 1.3")
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=4)
    page.mouse.up()
    page.locator(".cc-row[data-group='T cell'] .cc-toggle").click()
    wait(page, "painted", "value === 695 - 230")
    page.mouse.move(5, 5)
    zoom, centre, uploads = said(canvas, "zoom"), canvas.get_attribute("data-centre"), said(canvas, "uploads")

    page.get_by_role("button", name="new snapshot").click()
    wait(page, "uploads", f"value > {uploads}")
    # the positions of the generated cells, and nothing else, went to the graphics card
    assert said(canvas, "uploads") == uploads + 1
    assert said(canvas, "painted") == 695 - 230

    page.get_by_text("depth", exact=True).click()
    page.locator(".cc-ramp").wait_for()
    wait(page, "painted", "value === 605 + 60")
    assert page.locator(".cc-ramp .high").inner_text() == "2,000"
    assert said(canvas, "uploads") == uploads + 2  # colours alone
    assert (said(canvas, "zoom"), canvas.get_attribute("data-centre")) == (zoom, centre)
    assert canvas.evaluate("canvas => canvas.mine === true && canvas.isConnected")

    page.get_by_role("button", name="other cells").click()
    wait(page, "zoom", "value === 1")


def test_tooltip_tells_about_the_cell_under_the_pointer(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    tip = page.locator(".cc-tip")
    assert tip.is_hidden()
    x, y = middle(canvas)
    page.mouse.move(x + 3, y - 3)
    tip.wait_for(state="visible")
    words = tip.inner_text().split("\n")
    assert words == ["real", "type", "<b>NK</b>", "donor", "D1"]  # and no HTML is made of a name
    page.mouse.move(x + 60, y)
    tip.wait_for(state="hidden")


def test_legend_hides_isolates_and_shows_all(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    rows = page.locator(".cc-legend .cc-row")
    assert [" ".join(text.split()) for text in rows.all_inner_texts()] == [
        "real 605", "generated 90", "B cell 234", "T cell 230", "<b>NK</b> 231",
    ]
    row = page.locator(".cc-row[data-group='B cell']")
    row.locator(".cc-toggle").click()
    wait(page, "painted", "value === 461")
    assert row.locator(".cc-toggle").get_attribute("aria-pressed") == "false"
    page.mouse.move(5, 5)
    wait(page, "frames", f"value > {said(canvas, 'frames') - 1}")
    assert near(pixels(canvas), (0, 114, 178)) == 0
    page.locator(".cc-row[data-group='T cell'] .cc-toggle").focus()
    page.keyboard.press("Tab")  # to what appears beside it
    page.keyboard.press("Enter")
    wait(page, "painted", "value === 230")
    page.locator(".cc-row[data-group='generated'] .cc-toggle").click()
    wait(page, "painted", "value === 200")
    page.get_by_role("button", name="Show all").click()
    wait(page, "painted", "value === 695")
    page.locator(".cc-row[data-group='B cell'] .cc-toggle").dblclick()
    wait(page, "painted", "value === 234")


def test_keys_buttons_and_double_click_move_the_view(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    canvas.focus()
    page.keyboard.press("+")
    wait(page, "zoom", "Math.abs(value - 1.35) < 1e-3")
    start, frames = canvas.get_attribute("data-centre") or "", said(canvas, "frames")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    wait(page, "frames", f"value >= {frames + 1}")
    page.wait_for_timeout(100)
    before, after = (np.array((text or "").split(","), float) for text in (start, canvas.get_attribute("data-centre")))
    assert (after > before).all()  # right and up
    page.keyboard.press("0")
    wait(page, "zoom", "value === 1")
    page.get_by_role("button", name="Zoom out").click()
    wait(page, "zoom", "value < 1")
    canvas.dblclick(position={"x": 20, "y": 20})
    wait(page, "zoom", "value === 1")


def test_view_is_kept_when_the_canvas_goes_and_comes_back(browser_page: Page, url: str) -> None:
    page = browser_page
    show(page, url)
    page.get_by_role("button", name="Zoom in").click()
    wait(page, "zoom", "value > 1.3")
    page.get_by_text("shown", exact=True).click()
    page.locator(CANVAS).wait_for(state="detached")
    page.get_by_text("shown", exact=True).click()
    page.locator(CANVAS).wait_for()
    wait(page, "zoom", "Math.abs(value - 1.35) < 1e-3")


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_png_has_the_themes_background_and_all_cells(
    open_page: Callable[..., Page], url: str, scheme: str, dark: bool
) -> None:
    page = open_page(color_scheme=scheme)
    canvas = show(page, url)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    assert download.value.suggested_filename == "cells.png"
    image = np.asarray(Image.open(Path(download.value.path())).convert("RGB")).astype(int)
    box = canvas.bounding_box()
    assert box
    assert image.shape[0] == round(2 * box["height"])
    assert image.shape[1] > 2 * box["width"]  # the legend stands beside
    assert (image[0, 0].mean() < 60) == dark
    assert near(image, (213, 94, 0)) > 1000
    # the black group is seen on both: as it is on white, lightened on dark
    assert near(pixels(canvas), (0, 0, 0), 60) > (100 if not dark else 0)
    if dark:
        grey = np.ptp(pixels(canvas), axis=-1) < 12
        assert (grey & (pixels(canvas).mean(axis=-1) > 60)).sum() > 300


def test_lost_graphics_context_comes_back(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    canvas.evaluate("canvas => { canvas.ext = canvas.getContext('webgl2').getExtension('WEBGL_lose_context'); "
                    "canvas.ext.loseContext(); }")
    wait(page, "painted", "value === 0")
    canvas.evaluate("canvas => canvas.ext.restoreContext()")
    wait(page, "painted", "value === 695")
    assert near(pixels(canvas), (0, 114, 178)) > 300


def test_without_webgl2_cells_are_drawn_all_the_same(browser_page: Page, url: str) -> None:
    page = browser_page
    page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        " return /webgl/.test(kind) ? null : get.call(this, kind, ...rest) }"
    )
    canvas = show(page, url)
    assert canvas.get_attribute("data-renderer") == "canvas2d"
    assert "no WebGL 2" in page.locator(".cc-note").inner_text()
    image = pixels(canvas)
    half = image.shape[1] // 2
    assert near(image[:, :half], (0, 114, 178)) > 300
    assert near(image[:, half:], (213, 94, 0)) > 300


def test_plain_address_shows_a_plotly_chart(browser_page: Page, url: str) -> None:
    page = browser_page
    page.goto(f"{url}/?plain=1")
    page.locator(".js-plotly-plot .legend").wait_for()
    assert page.locator(CANVAS).count() == 0
    assert "B cell" in (page.locator(".js-plotly-plot .legend").text_content() or "")


def test_theme_changes_while_the_page_is_open(open_page: Callable[..., Page], url: str) -> None:
    page = open_page(color_scheme="light")
    canvas = show(page, url)
    assert near(pixels(canvas), (0, 0, 0), 40) > 100
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(500)
    wait(page, "frames", f"value > {said(canvas, 'frames') - 1}")
    image = pixels(canvas)
    back = image[3, 3]
    assert back.mean() < 60
    grey = (np.ptp(image, axis=-1) < 12) & (image.mean(axis=-1) > back.mean() + 40)
    assert grey.sum() > 300  # the black group is lightened


def test_many_reruns_in_a_row_leave_one_living_canvas(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    canvas.evaluate("canvas => { canvas.mine = true; }")
    button = page.get_by_role("button", name="new snapshot")
    for _ in range(8):
        button.click(no_wait_after=True)
    page.get_by_text("depth", exact=True).click()
    page.locator(".cc-ramp").wait_for()
    page.get_by_role("button", name="Zoom in").click()
    wait(page, "zoom", "value > 1.3")
    assert canvas.evaluate("canvas => canvas.mine === true && !canvas.getContext('webgl2').isContextLost()")


def test_narrow_column_puts_the_legend_beneath(open_page: Callable[..., Page], url: str) -> None:
    page = open_page(viewport={"width": 430, "height": 900}, device_scale_factor=2)
    canvas = show(page, url)
    assert canvas.evaluate("canvas => canvas.width / canvas.clientWidth") == pytest.approx(2, abs=0.01)
    plot, legend = canvas.bounding_box(), page.locator(".cc-legend").bounding_box()
    assert plot
    assert legend
    assert legend["y"] >= plot["y"] + plot["height"]
    assert plot["width"] > 300
