"""The cell canvas from page to page: what is kept for the next one, and that it never brings a visitor back."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

from app_servers import App
from forms import settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
LOADER = ROOT / "pages" / "_shared" / "cell_canvas" / "loader.js"
LONG = 120_000  # ms


def go(page: Page, name: str) -> None:
    """Go to a page by the bar on top, until the cells are there where it has a map."""
    page.get_by_role("link", name=name, exact=True).first.click()
    if name == "Home":
        page.get_by_role("button", name="Try the demo").wait_for(timeout=LONG)
        page.wait_for_selector("canvas.cc-cells", state="detached")
    else:
        page.wait_for_selector("canvas.cc-cells[data-painted]:not([data-painted='0'])", timeout=LONG)
    settle(page)


def test_a_page_that_is_visited_again_sets_up_no_new_context(browser_page: Page, demo_app: App) -> None:
    page = browser_page
    page.add_init_script(
        "window.contexts = new Set(); HTMLCanvasElement.prototype.getContext = new Proxy("
        "HTMLCanvasElement.prototype.getContext, { apply(get, canvas, [kind, ...rest]) {"
        " if (kind === 'webgl2') window.contexts.add(canvas); return Reflect.apply(get, canvas, [kind, ...rest]); } })")
    page.goto(f"{demo_app.url}/?dataset={demo_app.dataset}&run={demo_app.run}")
    page.get_by_role("button", name="Try the demo").wait_for(timeout=LONG)
    seen = []
    for name in ("Data", "Home", "Data", "Generate", "Data", "Home", "Data"):
        go(page, name)
        if name == "Data":
            canvas = page.locator("canvas.cc-cells")
            seen.append([canvas.get_attribute(f"data-{n}") for n in ("painted", "coloured", "selected", "renderer")])
            assert int(canvas.get_attribute("data-frames") or 0) < 10  # what was said of the last cells is gone
    assert all(said == seen[0] for said in seen)
    assert page.evaluate("window.contexts.size") <= 2


def test_asking_for_what_is_lacking_never_undoes_a_change_of_page(browser_page: Page, demo_app: App) -> None:
    page = browser_page
    page.clock.install(time=0)
    page.goto(f"{demo_app.url}/_stcore/health")  # a page of this address with nothing on it
    page.clock.pause_at(60_000)  # from here on time goes by where the test says so
    head = json.dumps({"code": "c0de", "at": {}}).encode()
    data = base64.b64encode(b"CELL" + len(head).to_bytes(4, "little") + head).decode()
    page.evaluate("""async ([text, data]) => {
      document.body.innerHTML = "<div id=app data-test-script-state=notRunning></div><div id=cells></div>" +
        "<a href='/other'>other</a>";
      document.querySelector("a").addEventListener("click", (event) => event.preventDefault());
      const loader = await import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
      window.run = (state) => { document.querySelector("#app").dataset.testScriptState = state; };
      window.mount = () => {
        window.asked = 0;
        loader.default({ data: Uint8Array.from(atob(data), (c) => c.charCodeAt(0)),
          parentElement: document.querySelector("#cells"), setTriggerValue: () => { window.asked++; } });
      };
      window.mount();
    }""", [LOADER.read_text(encoding="utf-8"), data])

    def asked(after: int) -> int:
        page.clock.run_for(after)
        return int(page.evaluate("window.asked"))

    def run() -> None:
        for state in ("running", "notRunning"):
            page.evaluate("state => window.run(state)", state)
            page.clock.run_for(50)

    assert asked(700) == 0  # a press from before this code was there may be unanswered yet
    run()
    assert asked(1600) == 1
    page.evaluate("window.mount()")
    page.get_by_text("other").click()
    run()  # the end of an older run, the page being the same
    assert asked(1600) == 0
    page.evaluate("history.pushState(null, '', '/other')")
    run()
    assert asked(1600) == 1
    page.evaluate("window.mount(); document.querySelector('#cells').remove()")
    assert asked(1000) == 0  # it has left the page
