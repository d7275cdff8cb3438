"""Ten people at once on one server: every one sees every page, and the server's log holds no error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from app_servers import App, Servers

if TYPE_CHECKING:
    from playwright.sync_api import Page

SESSIONS, LONG = 10, 240_000
PAGES = ("Data", "Train", "Generate", "Design", "Perturb", "Runs", "Methods")


@pytest.mark.slow
def test_ten_sessions_walk_all_pages_at_once(
        open_page: Callable[..., Page], demo_app: App, servers: Servers) -> None:
    first = open_page(viewport={"width": 1024, "height": 576})
    people = [first, *(first.context.new_page() for _ in range(SESSIONS - 1))]  # a session of the server for each
    for person in people:  # all connect before the first walks
        person.goto(f"{demo_app.url}/?dataset={demo_app.dataset}&run={demo_app.run}", wait_until="commit",
                    timeout=LONG)
    for person in people:
        person.get_by_role("button", name="Try the demo").wait_for(timeout=LONG)
    for step in range(len(PAGES)):  # nobody waits for another: all click, each on another page, then all are looked at
        going = [(person, PAGES[(step + i) % len(PAGES)]) for i, person in enumerate(people)]
        for person, name in going:
            person.get_by_role("link", name=name, exact=True).first.click(timeout=LONG)
        for person, name in going:
            person.get_by_role("heading", name=name, exact=True, level=1).wait_for(timeout=LONG)
            person.wait_for_function(
                "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'",
                timeout=LONG)
            wrong = person.locator("[data-testid=stAlertContentError], [data-testid=stException]")
            assert wrong.count() == 0, f"{name}: {wrong.all_inner_texts()}"
    log = servers.logs[demo_app.url].read_text(errors="replace")
    assert "Traceback" not in log and "page error" not in log, log[-3000:]
