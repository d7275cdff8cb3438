"""A real browser and a real server for the tests in this folder.

`serve` starts Streamlit on a free port of 127.0.0.1, `demo_app` is the app with the demo; `browser_page` is a page that
fails its test when anything was asked of another host, or an error was written to the console. Browser and servers last
as long as the process that runs the tests: each takes seconds to start. Without a browser the tests are skipped, unless
REQUIRE_BROWSER=1 is set: then they fail.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from app_servers import App, Servers

from scdiff_core import demo_model
from scdiff_core.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

ROOT = Path(__file__).resolve().parents[2]
LONGEST = ("whole_way", "perturb", "design", "sessions", "axe", "explore")
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
    """Everything in this folder drives a browser; the longest files come first, so that two processes end together."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)
    names = [f"test_e2e_{name}.py" for name in LONGEST]
    items.sort(key=lambda item: names.index(item.path.name) if item.path.name in names else len(names))


def _no_browser(reason: str) -> NoReturn:
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"REQUIRE_BROWSER=1 is set, and {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all: Debian's chromium, or the one that Playwright brings."""
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


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """All servers; those that still run end with the tests."""
    started = Servers(tmp_path_factory.mktemp("servers"))
    yield started
    for url in list(started.running):
        started.stop(url)


@pytest.fixture(scope="module")
def serve(servers: Servers) -> Iterator[Servers]:
    """Return what starts Streamlit: ``serve(script, workspace, env) -> url``; what was started ends with the file."""
    before = set(servers.running)
    yield servers
    for url in set(servers.running) - before - servers.lasting:
        servers.stop(url)


@pytest.fixture(scope="session")
def demo_app(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> App:
    """The app with the demo in its workspace; what one test saves there is there for the next."""
    space = Workspace(tmp_path_factory.mktemp("demo"))
    dataset, run = demo_model.install(space)
    url = servers(ROOT / "app.py", space.root, {"SCDIFF_DATA_ROOT": str(space.root)})
    servers.lasting.add(url)
    return App(url, space.root, dataset.id, run.id)


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
        page.on("websocket", lambda socket: requests.append(socket.url))

    def start(**options: Any) -> Page:
        options = {"viewport": {"width": 1280, "height": 800}, "accept_downloads": True, **options}
        context = chromium.new_context(**options)
        contexts.append(context)
        context.on("page", watch)
        context.on("request", lambda request: requests.append(request.url))
        context.set_default_timeout(120_000)  # ms, of all its pages; a loaded machine of two cores
        page = context.new_page()
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
