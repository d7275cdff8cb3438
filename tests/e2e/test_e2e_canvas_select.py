"""Selecting on the cell canvas in a real browser, and what travels for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.path import Path as Outline

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, WebSocket

CANVAS = "canvas.cc-cells"
SCRIPT = Path(__file__).with_name("canvas_select_page.py")
# a lasso around the group in the lower left, cutting off a corner of it: shares of the canvas's width and height
LASSO = [(0.28, 0.55), (0.42, 0.6), (0.47, 0.8), (0.45, 0.97), (0.3, 0.97), (0.22, 0.75)]


@pytest.fixture(scope="module")
def url(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve(SCRIPT, tmp_path_factory.mktemp("select") / "workspace")


def show(page: Page, url: str, n: int = 600) -> Locator:
    page.goto(f"{url}/?n={n}")
    page.wait_for_selector(f"{CANVAS}[data-painted='{n + 90}']")
    return page.locator(CANVAS)


def wait(page: Page, name: str, value: object) -> None:
    page.wait_for_selector(f"{CANVAS}[data-{name}='{value}']")


def drag(page: Page, shares: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Drag through these places; returns them in pixels of the canvas."""
    box = page.locator(CANVAS).bounding_box()
    assert box
    path = [(round(x * box["width"]), round(y * box["height"])) for x, y in shares]
    page.mouse.move(box["x"] + path[0][0], box["y"] + path[0][1])
    page.mouse.down()
    for x, y in path[1:]:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=5)
    page.mouse.up()
    return path


def told(page: Page, heard: int) -> dict[str, set[int]]:
    """What the server was told by its n-th word: the cells of each layer."""
    text = page.get_by_text(re.compile(f"^heard {heard}:")).inner_text()
    return {name: {int(i) for i in cells.split(",") if i.strip()}
            for name, cells in re.findall(r"(real|generated) \d+ \[([^\]]*)\]", text)}


def places(canvas: Locator) -> tuple[np.ndarray, np.ndarray]:
    """Where the cells of the page lie in pixels of the canvas, by the page's own random numbers."""
    rng = np.random.default_rng(0)
    centres = np.array([[-8.0, -8.0], [8.0, -8.0], [0.0, 8.0]])
    real = centres[np.arange(600) % 3] + rng.uniform(-2, 2, (600, 2))
    made = centres[np.arange(90) % 3] + rng.uniform(-2, 2, (90, 2))
    low, high = real.min(axis=0), real.max(axis=0)
    box = canvas.bounding_box()
    assert box
    size = np.array([box["width"], box["height"]])
    scale = (0.92 * size / (high - low)).min()
    middle = (low + high) / 2
    return tuple(size / 2 + (xy - middle) * scale * [1, -1] for xy in (real, made))  # type: ignore[return-value]


def within(path: list[tuple[float, float]], at: np.ndarray) -> tuple[set[int], set[int]]:
    """The cells that surely lie in the polygon, and those that may: within a pixel of its edge."""
    outline = Outline(path, closed=False)
    inside = [outline.contains_points(at + shift) for shift in ([0, 0], [1, 1], [1, -1], [-1, 1], [-1, -1])]
    return set(np.flatnonzero(np.all(inside, axis=0)).tolist()), set(np.flatnonzero(np.any(inside, axis=0)).tolist())


def test_lasso_takes_the_cells_inside_it_from_all_layers(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    canvas.focus()
    page.keyboard.press("l")
    path = drag(page, LASSO)
    cells = told(page, 1)
    for name, at in zip(("real", "generated"), places(canvas), strict=True):
        surely, maybe = within(path, at)
        assert surely <= cells[name] <= maybe
        assert len(surely) > 10
    n = len(cells["real"]) + len(cells["generated"])
    assert canvas.get_attribute("data-selected") == str(n)
    assert page.locator(".cc-number").inner_text() == f"{n} selected"
    # a click, and a lasso around nothing, destroy nothing
    box = canvas.bounding_box()
    assert box
    page.mouse.click(box["x"] + 500, box["y"] + 250)
    drag(page, [(0.5, 0.5), (0.6, 0.5), (0.6, 0.6)])
    page.get_by_text("no shown cell lies in there").wait_for()
    assert canvas.get_attribute("data-selected") == str(n)


def test_box_adds_and_takes_away(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    page.get_by_role("button", name="Select with a box").click()
    drag(page, [(0.02, 0.5), (0.49, 0.99)])  # the group in the lower left, whole
    wait(page, "selected", 230)
    told(page, 1)  # each word by itself: Streamlit makes one run of two that come together
    page.get_by_role("button", name="Add to the selection").click()
    drag(page, [(0.51, 0.5), (0.98, 0.99)])  # and the one beside it
    wait(page, "selected", 460)
    told(page, 2)
    page.keyboard.down("Alt")  # held keys go before the buttons
    drag(page, [(0.02, 0.5), (0.49, 0.99)])
    page.keyboard.up("Alt")
    wait(page, "selected", 230)
    assert told(page, 3)["real"] == set(range(1, 600, 3)) & set(range(600))
    page.get_by_role("button", name="Invert").click()
    wait(page, "selected", 460)
    told(page, 4)
    page.get_by_role("button", name="Clear").click()
    wait(page, "selected", 0)
    assert told(page, 5) == {"real": set(), "generated": set()}
    assert canvas.get_attribute("data-zoom") == "1.0000"


def test_keys_select_and_hidden_cells_are_left_out(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    canvas.focus()
    page.keyboard.press("Control+a")
    wait(page, "selected", 690)
    told(page, 1)
    page.keyboard.press("Escape")
    wait(page, "selected", 0)
    told(page, 2)
    page.locator(".cc-row[data-group='B cell'] .cc-toggle").click()
    canvas.focus()
    page.keyboard.press("Control+a")
    wait(page, "selected", 460)
    told(page, 3)
    # a group by the legend, with keys alone
    page.locator(".cc-row[data-group='NK'] .cc-toggle").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait(page, "selected", 230)
    cells = told(page, 4)
    assert cells["real"] == set(range(2, 600, 3)) & set(range(600))
    # shift and a drag is a lasso that adds, whatever the tool
    page.keyboard.down("Shift")
    drag(page, [(0.51, 0.5), (0.98, 0.5), (0.98, 0.99), (0.51, 0.99)])
    page.keyboard.up("Shift")
    wait(page, "selected", 460)
    assert canvas.get_attribute("data-zoom") == "1.0000"


def test_selection_from_the_server_is_shown_and_the_view_stays(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="select the first hundred").click()
    wait(page, "selected", 100)
    assert float(canvas.get_attribute("data-zoom") or "nan") == pytest.approx(1.35)
    # in the table as well
    page.get_by_role("button", name="Numbers of cells as a table").click()
    page.locator(".cc-table caption").get_by_text("100 selected").wait_for()  # it follows the picture a little later
    rows = [" ".join(text.split()) for text in page.locator(".cc-table tbody tr").all_inner_texts()]
    assert rows == ["B cell 200 30 34", "T cell 200 30 33", "NK 200 30 33", "all 600 90 100"]
    page.keyboard.press("Escape")
    assert page.locator("[data-panel=table]").get_attribute("aria-expanded") == "false"
    assert canvas.get_attribute("data-selected") == "100"  # Escape closed the table, no more
    page.keyboard.press("Tab")
    page.get_by_text("CD8A", exact=True).click()
    page.locator(".cc-ramp").wait_for()
    assert canvas.get_attribute("data-selected") == "100"


def test_positions_travel_once_and_selections_as_bits(open_page: Callable[..., Page], url: str) -> None:
    page = open_page()
    sent: list[int] = []
    received: list[int] = []

    def count(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(len(frame)))
        socket.on("framereceived", lambda frame: received.append(len(frame)))

    page.on("websocket", count)
    n = 50_000
    canvas = show(page, url, n)
    positions, first = 4 * n, sum(received)
    assert first > positions + n
    page.wait_for_timeout(500)
    received.clear()
    for gene, again in (("CD8A", False), ("MS4A1", False), ("CD8A", True)):
        page.get_by_text(gene, exact=True).click()
        wait(page, "coloured", gene)
        page.wait_for_timeout(700)
        got = sum(received)
        # the component's own code goes with each message; 2 bytes a cell for a gene not seen before
        assert (0 if again else 2 * n) < got < (2 * n if again else 4 * n)
        received.clear()
    sent.clear()
    canvas.focus()
    page.keyboard.press("Control+a")
    told(page, 1)
    assert sum(sent) < 50_000


def test_what_the_browser_lacks_is_asked_for(browser_page: Page, url: str) -> None:
    page = browser_page
    # a browser that keeps nothing of the first gene
    page.add_init_script("Map.prototype.set = new Proxy(Map.prototype.set, { apply(set, map, [key, value]) {"
                         " if (value instanceof Uint16Array && !window.lost) { window.lost = key; return map; }"
                         " return Reflect.apply(set, map, [key, value]); } })")
    show(page, url)
    page.get_by_text("CD8A", exact=True).click()
    wait(page, "coloured", "CD8A")
    assert page.evaluate("window.lost")


def test_handles_and_numbers_change_the_colours_range(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    page.get_by_text("CD8A", exact=True).click()
    page.locator(".cc-ramp").wait_for()

    def span() -> list[float]:
        return [float(v) for v in (canvas.get_attribute("data-range") or "").split(",")]

    low, high = span()
    assert low == pytest.approx(0, abs=0.1)
    assert high == pytest.approx(4, abs=0.1)  # two outliers of 100 do not take the colours
    assert page.locator(".cc-ramp .high").inner_text() == "100"
    page.get_by_role("button", name="Whole range").click()
    wait(page, "range", f"{low!r},100")
    page.get_by_role("slider", name="Top of the colours").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(200)
    assert span()[1] == pytest.approx(98, abs=0.01)
    field = page.get_by_role("textbox", name="Highest value of the colours")
    field.fill("2.5")
    field.press("Enter")
    page.wait_for_timeout(200)
    assert span()[1] == 2.5
    handle, bar = page.locator(".cc-handle.top").bounding_box(), page.locator(".cc-bar").bounding_box()
    assert handle
    assert bar
    page.mouse.move(handle["x"] + 5, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(bar["x"] + 5, bar["y"] + bar["height"] / 2, steps=4)
    page.mouse.up()
    page.wait_for_timeout(200)
    assert span()[1] == pytest.approx(50, abs=2)
    # remembered for this gene, and for no other
    page.get_by_text("MS4A1", exact=True).click()
    wait(page, "coloured", "MS4A1")
    assert span()[1] < 5
    page.get_by_text("CD8A", exact=True).click()
    wait(page, "coloured", "CD8A")
    assert span()[1] == pytest.approx(50, abs=2)


def test_size_and_opacity_are_remembered(browser_page: Page, url: str) -> None:
    page = browser_page
    canvas = show(page, url)
    page.get_by_role("button", name="Point size and opacity").click()
    size = page.get_by_role("slider", name="Size")
    for _ in range(10):
        size.press("ArrowRight")
    assert size.get_attribute("aria-valuetext") == "200 % of the usual size"
    page.keyboard.press("Escape")
    page.reload()
    wait(page, "painted", 690)
    page.get_by_role("button", name="Point size and opacity").click()
    assert page.get_by_role("slider", name="Size").input_value() == "1"
    page.get_by_role("button", name="Automatic").click()
    assert page.get_by_role("slider", name="Size").input_value() == "0"
    assert canvas.is_visible()


def test_selecting_by_touch_with_large_buttons(open_page: Callable[..., Page], url: str) -> None:
    page = open_page(has_touch=True, is_mobile=True, viewport={"width": 800, "height": 900})
    show(page, url)
    button = page.get_by_role("button", name="Select with a lasso").bounding_box()
    assert button
    assert min(button["width"], button["height"]) >= 38
    page.get_by_role("button", name="Select with a lasso").tap()
    box = page.locator(CANVAS).bounding_box()
    assert box
    touch = page.context.new_cdp_session(page)
    for kind, x, y in (("Start", 0.02, 0.5), ("Move", 0.49, 0.5), ("Move", 0.49, 0.99), ("Move", 0.02, 0.99)):
        at = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": [at]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait(page, "selected", 230)


def test_a_canvas_without_a_listener_has_no_tools(browser_page: Page, url: str) -> None:
    page = browser_page
    page.goto(f"{url}/?nopick=1")
    page.wait_for_selector(f"{CANVAS}[data-painted='690']")
    assert page.locator(".cc-pick").is_hidden()
    page.locator(CANVAS).focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("l")
    page.wait_for_timeout(200)
    assert page.locator(CANVAS).get_attribute("data-selected") == "0"


def test_plain_chart_selects_too(browser_page: Page, url: str) -> None:
    page = browser_page
    page.goto(f"{url}/?plain=1")
    page.locator(".js-plotly-plot .legend").wait_for()
    page.get_by_text("The plain chart, drawn by plotly").wait_for()
    page.locator(".js-plotly-plot").hover()
    page.locator(".modebar-btn[data-title='Box Select']").click()
    box = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + 5, box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + box["height"] - 5, steps=8)
    page.mouse.up()
    cells = told(page, 1)
    assert cells["real"] == set(range(0, 600, 3)) & set(range(600))
    page.get_by_text("230 selected").wait_for()
