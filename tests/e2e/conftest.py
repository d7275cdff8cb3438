"""A real browser and a real server for the tests in this folder.

`serve` starts Streamlit on a free port of 127.0.0.1; `browser_page` is a page that fails its test when
anything was asked of another host, or an error was written to the console. Without a browser the tests are
skipped, unless REQUIRE_BROWSER=1 is set: then they fail.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
# software rendering says that reading pixels is slow, which is true and harmless
HARMLESS = r"GPU stall due to ReadPixels|GL Driver Message \(OpenGL, Performance"
# on a deep link Streamlit first asks beside the page for its own health, and takes the 404 as an answer
BESIDE = re.compile(r"^http://127\.0\.0\.1:\d+/[\w-]+/_stcore/(?:health|host-config)$")
OURS = re.compile(r"^(?:(?:https?|wss?)://127\.0\.0\.1[:/]|blob:http://127\.0\.0\.1[:/]|data:|about:)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder drives a browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def _no_browser(reason: str) -> NoReturn:
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"REQUIRE_BROWSER=1 is set, and {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a test file: Debian's chromium, or the one that Playwright brings."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _no_browser("playwright is not installed (pip install -r requirements-dev.txt)")
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if found is None and Path(playwright.chromium.executable_path).exists():
            found = playwright.chromium.executable_path
        if found is None:
            _no_browser("there is no chromium (apt-get install chromium, or playwright install chromium)")
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


class Servers:
    """The Streamlit servers of a test file, by their address."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: dict[str, subprocess.Popen] = {}

    def __call__(
        self, script: Path, workspace: Path | None = None, env: dict[str, str] | None = None, port: int | None = None
    ) -> str:
        """Start `script` and return its address once it answers."""
        port = port or _free_port()
        url = f"http://127.0.0.1:{port}"
        extra = {"SCDIFF_WORKSPACE": str(workspace)} if workspace else {}
        settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **extra, **(env or {})}
        log = self.logs / f"server-{port}-{time.monotonic_ns()}.txt"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port),
                 "--server.headless", "true", "--server.address", "127.0.0.1",
                 "--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none"],
                cwd=ROOT, env=settings, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )
        self.running[url] = process
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5) as answer:
                    if answer.status == 200:
                        return url
            except OSError:
                time.sleep(0.1)
        self.stop(url)
        raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")

    def stop(self, url: str) -> None:
        """End the server at this address, as a restart of the machine would; jobs it started go on."""
        process = self.running.pop(url)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Return what starts Streamlit: ``serve(script, workspace, env) -> url``; all end with the test file."""
    servers = Servers(tmp_path_factory.mktemp("servers"))
    yield servers
    for url in list(servers.running):
        servers.stop(url)


@pytest.fixture
def forgive() -> list[str]:
    """Regular expressions of console errors that a test brings about itself (a server that it stops)."""
    return []


@pytest.fixture
def open_page(chromium: Browser, forgive: list[str]) -> Iterator[Callable[..., Page]]:
    """Return what opens a page of its own, ``open_page(color_scheme="dark", viewport=...)``, all watched."""
    contexts, errors, requests = [], [], []

    def note(said: ConsoleMessage) -> None:
        answer = " 404 " in said.text and BESIDE.match(said.location.get("url", ""))
        if said.type == "error" and not answer:
            errors.append(said.text)

    def watch(page: Page) -> None:
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))

    def start(**options: Any) -> Page:
        options = {"viewport": {"width": 1280, "height": 800}, "accept_downloads": True, **options}
        context = chromium.new_context(**options)
        contexts.append(context)
        context.on("page", watch)
        context.on("request", lambda request: requests.append(request.url))
        page = context.new_page()
        page.on("websocket", lambda socket: requests.append(socket.url))
        page.set_default_timeout(30_000)
        return page

    yield start
    for context in contexts:
        context.close()
    strangers = sorted({url for url in requests if not OURS.match(url)})
    assert strangers == [], f"the page asked other hosts for something: {strangers}"
    harmless = re.compile("|".join([HARMLESS, *forgive]))
    bad = [text for text in errors if not harmless.search(text)]
    assert bad == [], f"errors in the browser's console: {bad}"


@pytest.fixture
def browser_page(open_page: Callable[..., Page]) -> Page:
    """A page of 1280 × 800 that fails its test on console errors and on requests to other hosts."""
    return open_page()
