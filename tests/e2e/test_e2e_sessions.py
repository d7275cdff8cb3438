"""Ten people at once on one server: every one sees every page, and the server's log holds no error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scdiff_core import demo_model
from scdiff_core.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
SESSIONS, LONG = 10, 240_000
PAGES = ("Data", "Train", "Generate", "Perturb", "Runs", "Methods")


@pytest.mark.slow
def test_ten_sessions_walk_all_pages_at_once(
        open_page: Callable[..., Page], serve: Any, tmp_path: Path) -> None:
    space = Workspace(tmp_path / "workspace")
    dataset, run = demo_model.install(space)
    url = serve(ROOT / "app.py", space.root)
    people = [open_page() for _ in range(SESSIONS)]
    for person in people:  # all connect before the first walks
        person.goto(f"{url}/?dataset={dataset.id}&run={run.id}", wait_until="commit")
    for person in people:
        person.get_by_role("button", name="Try the demo").wait_for(timeout=LONG)
    for step in range(len(PAGES)):  # nobody waits for another: all click, each on another page, then all are looked at
        going = [(person, PAGES[(step + i) % len(PAGES)]) for i, person in enumerate(people)]
        for person, name in going:
            person.get_by_role("link", name=name, exact=True).first.click()
        for person, name in going:
            person.get_by_role("heading", name=name, exact=True, level=1).wait_for(timeout=LONG)
            person.wait_for_function(
                "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'",
                timeout=LONG)
            wrong = person.locator("[data-testid=stAlertContentError], [data-testid=stException]")
            assert wrong.count() == 0, f"{name}: {wrong.all_inner_texts()}"
    log = "\n".join(f.read_text(errors="replace") for f in sorted(serve.logs.glob("server-*.txt")))
    assert "Traceback" not in log and "page error" not in log, log[-3000:]
