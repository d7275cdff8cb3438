"""How long a change of page takes, and what memory the server needs for it, on 50,000 cells of 2,000 genes.

    python -m benchmarks.pages [--cells 50000] [--rounds 5] [--sessions 10] [--quick]

A data set is simulated (a Perturb-seq, a third of whose values are not zero: about three times as dense as most data),
prepared as anybody would, and a model trained on it for a few steps, with a generated set and the full report; that is
made once and kept in `.bench/pages`. Then the app is started on it and walked in a headless browser with software
rendering: from the click on the bar to the page's heading and, where there is a map, to its cells being painted. Each
page is visited several times; the first visit, which reads from disk, is told apart. Memory is what the server's
process holds, with files that are mapped told apart (the system may let these go at any time). At the end ten browser
sessions walk all pages at once; the server's log must hold no traceback. Writes benchmarks/results/pages.json and .md.
The cells are on the first tab of Data, Train and Generate; tabs that are not open do nothing. The CPU seconds, those of
the server's process and of the page's main thread in the browser, depend less on what else the machine is doing.
Visits during which other programs took more than a fifth of a core do not count, where there are others; there are up
to three times as many rounds, until each page has enough that do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from benchmarks import stages
from benchmarks.pages_table import PAGES, STRANGE, table
from scdiff_core.workspace import Workspace, write_json

MAPS = {"Data": "cells", "Train": "preview", "Generate": "both"}  # pages with a map, and whose cells are on it
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")
STEPS = ("codec.steps=120", "diffusion.steps=200")
# from the click until the heading stands, until a map that was not there before is painted, and until all is quiet
CLOCK = """([name, map, wait]) => new Promise((done) => {
  for (const old of document.querySelectorAll("h1")) old.dataset.old = old.textContent;
  const canvases = () => {
    const found = [], look = (root) => {
      found.push(...root.querySelectorAll("canvas.cc-cells"));
      for (const e of root.querySelectorAll("*")) if (e.shadowRoot) look(e.shadowRoot);
    };
    look(document.querySelector("[data-testid=stMain]"));
    return found;
  };
  for (const old of canvases()) old.dataset.old = "1";
  const link = [...document.querySelectorAll("a")].find((a) => a.textContent.trim().endsWith(name));
  const began = performance.now(), told = {};
  link.click();
  const look = () => {
    const now = (performance.now() - began) / 1000;
    const app = document.querySelector("[data-testid=stApp]");
    const heading = [...document.querySelectorAll("h1")].find(
      (h) => h.dataset.old !== h.textContent && (name === "Home" || h.textContent.trim() === name));
    if (heading) told.heading ??= now;
    const painted = !map || canvases().some((c) => !c.dataset.old && Number(c.dataset.painted || 0) > 0);
    if (told.heading && painted) told.seen ??= now;
    if (told.seen && app.dataset.testScriptState === "notRunning" && !document.querySelector("[data-stale=true]"))
      told.quiet ??= now;
    if (told.quiet || now > wait) done(told); else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""


def build(folder: Path, n_cells: int, n_genes: int) -> tuple[str, str]:
    """Simulate, prepare, train a few steps, generate and report; returns the dataset's and the run's id."""
    name, space = f"sim-{n_cells}", Workspace(folder)
    source = folder / f"{name}.h5ad"

    def command(*words: str) -> None:
        stages.say(f"-- {' '.join(words[:2])}")
        subprocess.run([sys.executable, "-m", "scdiff_core", *words, "--workspace", str(folder)], check=True,
                       cwd=stages.ROOT, stdout=subprocess.DEVNULL)

    if not (space.folder("prepare") / name / "prepared.h5ad").exists():
        from scdiff_core.data.simulate import simulate

        folder.mkdir(parents=True, exist_ok=True)
        simulate(n_cells, n_genes).write_h5ad(source)
        command("prepare", str(source), "--name", name)
        source.unlink()
    runs = [r for r in space.list("train") if (r.checkpoints / "best.safetensors").exists()]
    if not runs:
        command("train", name, "--preset", "quick", *(w for s in STEPS for w in ("--set", s)))
        runs = space.list("train")
    if not (runs[0].path / "report" / "report.json").exists():
        command("report", runs[0].id)
    return name, runs[0].id


def serve(workspace: Path, log: Path) -> tuple[subprocess.Popen, str]:
    """Start the app and return its process and address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.headless",
             "true", "--server.address", "127.0.0.1", "--browser.gatherUsageStats", "false"], cwd=stages.ROOT,
            env={**os.environ, "SCDIFF_WORKSPACE": str(workspace)}, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):
                return process, url
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise RuntimeError(log.read_text(errors="replace")[-2000:])


def memory(process: subprocess.Popen) -> dict[str, float]:
    """Return what the server's process holds (MB), with and without mapped files, and its worker processes."""
    told = psutil.Process(process.pid)
    own = told.memory_full_info()
    children = [c for c in told.children(recursive=True) if c.is_running()]
    return {"rss_mb": own.rss / 1e6, "own_mb": own.uss / 1e6,
            "workers_mb": sum(c.memory_info().rss for c in children) / 1e6}


def chromium() -> str | None:
    """Return the path of the system's browser; None means playwright's own."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def cpu(process: subprocess.Popen, browser_of: Any) -> dict[str, float]:
    """Return the CPU seconds so far of the server's process and of the main thread of the browser's page."""
    told, server = browser_of.send("Performance.getMetrics")["metrics"], psutil.Process(process.pid).cpu_times()
    return {"cpu_browser": next(m["value"] for m in told if m["name"] == "TaskDuration"),
            "cpu_server": server.user + server.system}


def worked() -> tuple[float, float]:
    """Return the CPU seconds so far of this machine, and those of this benchmark with its server and browser."""
    every = psutil.cpu_times()
    own = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            used = process.cpu_times()
            own += used.user + used.system
    return sum(every) - every.idle - getattr(every, "iowait", 0.0) - getattr(every, "guest", 0.0), own


def calm(patience: float = 3.0) -> None:
    """Wait until little else is at work on this machine, or patience ends."""
    until = time.monotonic() + patience
    while psutil.cpu_percent(0.5) > 20 and time.monotonic() < until:
        pass


def open_app(playwright: Any, address: str) -> tuple[Any, Any]:
    """Return a browser and a page of it that shows the app's Home."""
    browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(address)
    page.get_by_role("button", name="Try the demo").wait_for(timeout=120_000)
    page.wait_for_timeout(1500)
    return browser, page


def measure(address: str, process: subprocess.Popen, rounds: int) -> dict[str, Any]:
    """Walk the pages and return their seconds; the first round stands apart."""
    from playwright.sync_api import sync_playwright

    times: dict[str, list[dict[str, float]]] = {name: [] for name in PAGES}
    held = {"start": memory(process)}
    with sync_playwright() as playwright:
        browser, page = open_app(playwright, address)
        browser_of = page.context.new_cdp_session(page)
        browser_of.send("Performance.enable", {"timeDomain": "threadTicks"})
        for i in range(3 * rounds + 1):
            if all(sum(t["elsewhere"] <= STRANGE for t in times[n][1:]) >= rounds for n in PAGES):
                break
            for name in (*PAGES[1:], "Home"):
                calm()
                before, (all_before, own_before), began = cpu(process, browser_of), worked(), time.perf_counter()
                told = page.evaluate(CLOCK, [name, name in MAPS, 60])
                (all_after, own_after), took = worked(), time.perf_counter() - began
                told |= {k: v - before[k] for k, v in cpu(process, browser_of).items()}
                told["elsewhere"] = max(0.0, all_after - all_before - own_after + own_before) / took
                times[name].append(told)
                page.wait_for_timeout(1000)
                stages.say(f"{i} {name}: {told}")
                if i == 0:
                    held[name] = memory(process)
        held["end"] = memory(process)
        browser.close()
    return {"times": times, "memory": held}


async def _walk(browser: Any, address: str, first: int, seconds: float, ready: asyncio.Barrier) -> tuple[int, int]:
    """Walk the pages in a session of its own for so long; returns how many were seen, and how many were not."""
    page = await (await browser.new_context(viewport={"width": 1280, "height": 800})).new_page()
    await page.goto(address)
    await page.get_by_role("button", name="Try the demo").wait_for(timeout=240_000)
    await ready.wait()  # nobody walks before all are there
    right = wrong = 0
    until = time.monotonic() + seconds
    while right + wrong < len(PAGES) or time.monotonic() < until:
        name = PAGES[(first + right + wrong) % len(PAGES)]  # never the page that is there
        told = await page.evaluate(CLOCK, [name, False, 120])
        failed = "seen" not in told or await page.locator("[data-testid=stException]").count()
        right, wrong = (right, wrong + 1) if failed else (right + 1, wrong)
    return right, wrong


async def _together(address: str, sessions: int, seconds: float) -> list[tuple[int, int]]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        ready = asyncio.Barrier(sessions)
        # each begins at another page, but for Home, where all stand
        told = await asyncio.gather(*(_walk(browser, address, 1 + i % (len(PAGES) - 1), seconds, ready)
                                      for i in range(sessions)))
        await browser.close()
    return list(told)


def together(address: str, process: subprocess.Popen, log: Path, sessions: int) -> dict[str, Any]:
    """Let many sessions of one browser walk at once; returns the pages they saw, the memory, and what went wrong."""
    told = asyncio.run(_together(address, sessions, 20.0))
    return {"sessions": sessions, "pages": [right for right, _ in told], "not_seen": sum(wrong for _, wrong in told),
            "memory": memory(process),
            "tracebacks": log.read_text(errors="replace").count("Traceback (most recent call last)")}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="How long a change of page takes on a large data set.")
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--results", type=Path, default=stages.RESULTS)
    parser.add_argument("--quick", action="store_true", help="2,000 cells and two rounds, to try it")
    asked = parser.parse_args()
    n_cells, rounds, sessions = (2000, 2, 3) if asked.quick else (asked.cells, asked.rounds, asked.sessions)
    folder = stages.CACHE / ("pages" if n_cells == 50_000 else f"pages-{n_cells}")
    dataset, run = build(folder, n_cells, asked.genes)
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "server.log"
        process, url = serve(folder, log)
        try:
            address = f"{url}/?dataset={dataset}&run={run}"
            results: dict[str, Any] = {"n_cells": n_cells, "n_genes": asked.genes, "cores": os.cpu_count(),
                                       "load": os.getloadavg()[0], **measure(address, process, rounds)}
            results["together"] = together(address, process, log, sessions) if sessions else None
        finally:
            process.terminate()
            process.wait(15)
    write_json(asked.results / "pages.json", results)
    words = (f"## Changing pages: {n_cells:,} simulated cells of {asked.genes:,} genes, software rendering, "
             f"{os.cpu_count()} cores (load before: {results['load']:.1f})\n\n{table(results)}\n")
    (asked.results / "pages.md").write_text(words, encoding="utf-8")
    print(words)


if __name__ == "__main__":
    main()
