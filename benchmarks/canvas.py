"""How fast the cell canvas is, against plotly's scattergl in the same run, in a browser that draws in software.

    python -m benchmarks.canvas [--repeats 5] [--quick]

Streamlit and a headless chromium on this machine (flags as in the browser tests), a page of benchmarks/canvas_page.py
for each figure. Times begin at the click on a button and end when all cells have been drawn and the graphics queue is
empty, and, where a chart is opened, frames follow each other again. Each opening is in a fresh session of a fresh
browser profile: the first paint loads the code of the chart as a user's browser does; one more row has it loaded
already, by a small chart of the same kind. Bytes are those of the websocket's frames. Medians. Writes
benchmarks/results/canvas.json and canvas.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import stages, tables
from scdiff_core.workspace import write_json

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
FEW, MANY, MOST = 50_000, 250_000, 1_000_000
PATIENCE = 180_000  # ms

# each canvas remembers the context that its chart asked for
REMEMBER = """
const get = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  const context = get.call(this, kind, ...rest);
  if (context && /webgl/.test(kind)) this.drawnBy = context;
  return context;
};
"""
# a promise that resolves with the milliseconds from `begin` until `ready`, an empty graphics queue (a pixel is read
# because that waits for all that was asked of the graphics card), and three frames in a row without a pause: what was
# drawn is seen, and the page answers, no sooner than that (`frames`: 0 where only the picture itself is asked for)
WAIT = """
(begin, ready, picture, frames = 3) => new Promise((done) => {
  let [was, before, even] = [false, 0, 0];
  const look = () => {
    was = was || ready();
    if (!was) return requestAnimationFrame(look);
    const gl = picture().drawnBy;
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    even = performance.now() - before < 80 ? even + 1 : 0;
    before = performance.now();
    return even < frames ? requestAnimationFrame(look) : done(before - begin());
  };
  requestAnimationFrame(look);
})
"""
# finds the large canvas, through the components' shadow roots
LARGE = """
() => [...document.querySelectorAll("*")].filter((e) => e.shadowRoot)
  .map((e) => e.shadowRoot.querySelector("canvas.cc-cells")).filter(Boolean)
  .find((c) => c.clientHeight > 300)
"""
PLOTLY = """
() => [...document.querySelectorAll(".js-plotly-plot")].filter((e) => e.clientHeight > 300)
  .map((e) => e.querySelector("canvas.gl-canvas-context")).find(Boolean)
"""
# plotly keeps what it has drawn: a line across the middle meets groups of cells
DRAWN = f"""
() => {{
  const canvas = ({PLOTLY})();
  const gl = canvas && canvas.drawnBy;
  if (!gl || canvas.width < 100) return false;
  const line = new Uint8Array(4 * canvas.width);
  gl.readPixels(0, canvas.height >> 1, canvas.width, 1, gl.RGBA, gl.UNSIGNED_BYTE, line);
  return line.some((v) => v);
}}
"""


@contextmanager
def server() -> Iterator[str]:
    """Run the page's server and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        # in a folder of its own: beside benchmarks/pages.py the product's pages could not be imported
        page = Path(folder) / "canvas.py"
        page.write_text("from benchmarks.canvas_page import main\nmain()\n", encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(page), "--server.port", str(port), "--server.headless",
             "true", "--server.address", "127.0.0.1", "--browser.gatherUsageStats", "false",
             "--server.fileWatcherType", "none"],
            cwd=stages.ROOT, env={**os.environ, "PYTHONPATH": str(stages.ROOT)}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait(15)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a headless browser that draws in software."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A fresh session on the page, with its traffic counted."""

    def __init__(self, browser: Browser, url: str, n: int, kind: str, warm: bool = False) -> None:
        self.context = browser.new_context(viewport={"width": 1400, "height": 900})
        self.context.add_init_script(REMEMBER)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.sent = self.received = 0
        self.page.on("websocket", self._count)
        self.n, self.kind = n, kind
        self.page.goto(f"{url}/?n={n}&kind={kind}" + ("&warm=1" if warm else ""))
        first = "canvas.cc-cells[data-painted='6000']" if kind == "ours" else ".js-plotly-plot canvas"
        self.page.wait_for_selector(first if warm else "button:has-text('show the cells')", state="attached")
        self.page.wait_for_timeout(1500)

    def _count(self, socket: Any) -> None:
        def add(name: str) -> Any:
            return lambda frame: setattr(self, name, getattr(self, name) + len(frame))

        socket.on("framesent", add("sent"))
        socket.on("framereceived", add("received"))

    def clicked(self, click: str, ready: str, frames: int = 3) -> float:
        """Return the seconds from a click (JavaScript that returns the element) until it has been painted."""
        picture = LARGE if self.kind == "ours" else PLOTLY
        script = f"async () => {{ const at = performance.now(); ({click})().click(); " \
                 f"return await ({WAIT})(() => at, {ready}, {picture}, {frames}); }}"
        return float(self.page.evaluate(script)) / 1000

    def open(self) -> float:
        """Return the seconds until the large chart is painted."""
        ready = f"() => {{ const c = ({LARGE})(); return c && c.dataset.painted === '{self.n}'; }}"
        button = "() => [...document.querySelectorAll('button')].find((b) => b.innerText === 'show the cells')"
        return self.clicked(button, ready if self.kind == "ours" else DRAWN)

    def recolour(self, name: str) -> tuple[float, int]:
        """Return the seconds and the bytes received of colouring by another gene."""
        self.page.wait_for_timeout(400)
        before = self.received
        ready = f"() => ({LARGE})().dataset.coloured === '{name}'"
        radio = f"() => [...document.querySelectorAll('label')].find((b) => b.innerText.trim() === '{name}')"
        seconds = self.clicked(radio, ready, frames=0)
        self.page.wait_for_timeout(400)
        return seconds, self.received - before

    def lasso(self) -> dict[str, float]:
        """Draw around about half of the cells; returns the seconds until it is painted, and the bytes sent."""
        page = self.page
        page.evaluate(f"() => {{ const c = ({LARGE})(); c.scrollIntoView({{block: 'end'}}); c.focus(); "
                      "window.addEventListener('pointerup', () => { window.lifted = performance.now(); }, true); }")
        page.keyboard.press("l")
        page.wait_for_timeout(1000)
        box = page.evaluate(f"() => {{ const b = ({LARGE})().getBoundingClientRect(); "
                            "return [b.x, b.y, b.width, b.height]; }")
        at = [(box[0] + fx * box[2], box[1] + fy * box[3]) for fx, fy in
              ((0.5, 0.04), (0.3, 0.07), (0.15, 0.3), (0.12, 0.6), (0.25, 0.9), (0.5, 0.96), (0.47, 0.5))]
        before = self.sent
        page.mouse.move(*at[0])
        page.mouse.down()
        for point in at[1:]:
            page.mouse.move(*point, steps=8)
        page.evaluate(f"() => {{ window.lassoed = ({WAIT})(() => window.lifted, () => window.lifted && "
                      f"Number(({LARGE})().dataset.selected) > 0, {LARGE}, 0); }}")
        page.mouse.up()
        seconds = page.evaluate("() => window.lassoed") / 1000
        n = page.evaluate(f"() => Number(({LARGE})().dataset.selected)")
        test = float(page.evaluate(f"() => Number(({LARGE})().dataset.took)")) / 1000
        page.get_by_text(f"the server knows of {n}", exact=True).wait_for()
        page.wait_for_timeout(400)
        return {"seconds": seconds, "test": test, "sent": self.sent - before, "cells": n}

    def close(self) -> None:
        """End the session."""
        self.context.close()


def openings(browser: Browser, url: str, n: int, repeats: int, warm: bool = False) -> dict[str, list[float]]:
    """Return the seconds of several openings of either chart, by turns; one more goes first, to warm the server."""
    found: dict[str, list[float]] = {"ours": [], "plotly": []}
    for turn in range(repeats + 1):
        for kind, seconds in found.items():
            opened = Opened(browser, url, n, kind, warm)
            spent = opened.open()
            opened.close()
            stages.say(f"{kind}, {n:,} cells{' with the code loaded' if warm else ''}: {spent:.2f} s")
            if turn:
                seconds.append(spent)
    return found


def measure(repeats: int, quick: bool) -> dict[str, Any]:
    """Return all figures."""
    found: dict[str, Any] = {"repeats": repeats, "cores": os.cpu_count(), "load": [os.getloadavg()[0]], "open": {}}
    with server() as url, chromium() as browser:
        found["browser"] = browser.version
        for n in (FEW,) if quick else (FEW, MANY):
            for kind, seconds in openings(browser, url, n, repeats if n == FEW else min(3, repeats)).items():
                found["open"][f"{kind}_{n}"] = seconds
        for kind, seconds in openings(browser, url, FEW, repeats, warm=True).items():
            found["open"][f"{kind}_{FEW}_warm"] = seconds
        opened = Opened(browser, url, FEW, "ours")
        opened.open()
        opened.recolour("gene 0")
        found["recolour"] = [opened.recolour(f"gene {1 + i % 7}") for i in range(7)]
        found["lasso"] = {str(FEW): [opened.lasso()]}
        opened.close()
        if not quick:
            found["open"][f"ours_{MOST}"], found["lasso"][str(MOST)] = [], []
            for _ in range(min(3, repeats)):
                opened = Opened(browser, url, MOST, "ours")
                found["open"][f"ours_{MOST}"].append(opened.open())
                found["lasso"][str(MOST)].append(opened.lasso())
                opened.close()
                stages.say(f"ours, {MOST:,} cells: {found['open'][f'ours_{MOST}'][-1]:.2f} s, then a lasso")
    found["load"].append(os.getloadavg()[0])
    return found


def table(found: dict[str, Any]) -> str:
    """Return the figures as markdown."""
    middle = {key: statistics.median(values) for key, values in found["open"].items()}
    lines = [["what", "cells", "cell canvas", "plotly scattergl", "ratio", "must", "holds"]]

    def row(what: str, n: int, ours: str, other: str, ratio: str, must: str, holds: bool | None) -> None:
        lines.append([what, f"{n:,}", ours, other, ratio, must, "" if holds is None else "yes" if holds else "**no**"])

    for n, times in ((FEW, 5), (MANY, 10)):
        if f"ours_{n}" in middle:
            ours, other = middle[f"ours_{n}"], middle[f"plotly_{n}"]
            row("first paint, from the click", n, f"{ours:.2f} s", f"{other:.2f} s", f"{other / ours:.1f}",
                f"at least {times} times faster", other / ours >= times)
    ours, other = middle[f"ours_{FEW}_warm"], middle[f"plotly_{FEW}_warm"]
    row("another chart, its code loaded before", FEW, f"{ours:.2f} s", f"{other:.2f} s", f"{other / ours:.1f}", "",
        None)
    if f"ours_{MOST}" in middle:
        row("first paint, from the click", MOST, f"{middle[f'ours_{MOST}']:.2f} s", "", "", "opens", True)
    for n in (MOST, FEW):
        for lasso in [found["lasso"][str(n)]] if str(n) in found["lasso"] else []:
            spent = statistics.median(one["seconds"] for one in lasso)
            test = statistics.median(one["test"] for one in lasso)
            row(f"lasso around {lasso[0]['cells']:,}: lifted to painted", n,
                f"{spent:.2f} s, of which finding the cells {test:.2f}", "", "", "can be lassoed", True)
    sent = max(one["sent"] for one in found["lasso"][str(FEW)])
    row("lasso: bytes sent", FEW, f"{sent / 1000:.1f} kB", "", "", "under 50 kB", sent < 50_000)
    spent = statistics.median(seconds for seconds, _ in found["recolour"])
    row("another gene: click to painted", FEW, f"{1000 * spent:.0f} ms", "", "", "under 300 ms", spent < 0.3)
    received = statistics.median(size for _, size in found["recolour"])
    row("another gene: bytes received", FEW, f"{received / 1000:.0f} kB", "", "", "colours alone", received < 4 * FEW)
    return tables.markdown(lines)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="How fast the cell canvas is, against plotly's scattergl.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=stages.RESULTS)
    parser.add_argument("--quick", action="store_true", help="50,000 cells alone, to try it")
    asked = parser.parse_args()
    found = measure(asked.repeats, asked.quick)
    text = f"## The cell canvas: chromium {found['browser']}, software rendering, {found['cores']} cores\n\n" \
           f"{table(found)}\n\nLoad of the machine before and after: " \
           f"{found['load'][0]:.1f} and {found['load'][1]:.1f} processes.\n"
    if not asked.quick:
        write_json(asked.results / "canvas.json", found)
        (asked.results / "canvas.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
