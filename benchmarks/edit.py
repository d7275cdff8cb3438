"""How long the answer to an edit of a target takes, in the browser, on PBMC3k.

    python -m benchmarks.edit [--edits 20]

The app is started on a model of the quick preset, three genes are pasted into the Design page, and the level of one is
changed again and again: from the press of Enter until the page says what share of the real cells is like that by now.
An edit whose answer would read as before is left out. Writes results/edit.json and edit.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks import stages
from benchmarks.pages import FLAGS, chromium, serve
from scdiff_core.workspace import Workspace, write_json, write_text

GENES = ("CST3", "HLA-DRA", "LYZ")
MUST = 1.0  # s
SAID = re.compile(r"real cells? of [\d,]+ \(")
# watches the shares of cells from the press of Enter until one reads otherwise
CLOCK = """wait => {
  const said = () => (document.querySelector("[data-testid=stMain]").textContent.match(/[\\d.,]+ %/g) || []).join();
  const before = said();
  window.took = undefined;
  document.addEventListener("keydown", () => {
    const began = performance.now();
    const look = () => {
      const now = (performance.now() - began) / 1000, after = said();
      if (after !== before) window.took = now;
      else if (now > wait) window.took = null;
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, {once: true, capture: true});
}"""
LONGEST = 10  # s that an answer is waited for


def edits(page: Page, url: str, n: int) -> list[float]:
    """Return the seconds of each edit whose answer changes."""
    page.goto(url)
    page.get_by_role("button", name="Paste a list").click()
    page.get_by_label("Genes", exact=True).fill(", ".join(f"{gene} up" for gene in GENES))
    page.get_by_role("button", name="Add these", exact=True).click()
    page.get_by_text(SAID).first.wait_for()
    page.keyboard.press("Escape")
    seconds = []
    for i in range(n + 2):  # the first two warm what is warm from then on
        page.wait_for_timeout(1500)
        field = page.get_by_role("spinbutton", name=f"Level of {GENES[0]}", exact=True)
        field.fill(f"{1.0 + 0.13 * ((7 * i) % 11):.2f}")
        page.evaluate(CLOCK, LONGEST)
        field.press("Enter")
        page.wait_for_function("window.took !== undefined")
        took = page.evaluate("window.took")
        if took is not None and i >= 2:
            seconds.append(float(took))
    return seconds


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description="How long the answer to an edit of a target takes.")
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--results", type=Path, default=stages.RESULTS, help="the folder for results")
    parser.add_argument("--quick", action="store_true", help="a few edits: only to try it")
    asked = parser.parse_args()
    workspace = Workspace(stages.CACHE)
    dataset, _ = stages.prepare(workspace, stages.paths_of(stages.DATASETS[:1])[0])
    run, _ = stages.train(workspace, dataset, "quick", 0)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        process, url = serve(workspace.root, Path(folder) / "log.txt")
        try:
            with sync_playwright() as playwright, contextlib.closing(playwright.chromium.launch(
                    executable_path=chromium(), args=list(FLAGS))) as browser:
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.set_default_timeout(120_000)
                seconds = edits(page, f"{url}/design?run={run.id}", 5 if asked.quick else asked.edits)
        finally:
            process.terminate()
    write_json(asked.results / "edit.json", {"seconds": seconds, "load": load})
    middle, most = float(np.median(seconds)), max(seconds)
    holds = "yes" if most < MUST else "✗"
    words = (f"## The answer to an edit of a target (PBMC3k, in the browser, load before: {load:.1f})\n\n"
             "| edits | median | slowest | must | holds |\n|---|---|---|---|---|\n"
             f"| {len(seconds)} | {middle:.2f} s | {most:.2f} s | under {MUST:g} s | {holds} |\n")
    write_text(asked.results / "edit.md", words)
    print(words)


if __name__ == "__main__":
    main()
