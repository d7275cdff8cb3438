"""How the tests fill in a page: once it stands still, for what is drawn anew shuts an open list."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

LONG, ATTEMPTS = 120_000, 4  # ms; a loaded machine of two cores
# the script has run, and for a while nothing has been drawn anew nor fades; counted in frames, which a busy machine
# draws more slowly
SETTLED = """frames => {
  const roots = [document, ...[...document.querySelectorAll("*")].map((e) => e.shadowRoot).filter(Boolean)];
  const moves = (a) => a.playState === "running" && a.effect.getComputedTiming().iterations !== Infinity;
  const calm = document.querySelector("[data-testid=stApp]")?.dataset.testScriptState === "notRunning"
    && !document.querySelector("[data-stale=true]") && !roots.some((r) => r.getAnimations().some(moves));
  window.calmFrames = calm ? (window.calmFrames || 0) + 1 : 0;
  return window.calmFrames > frames;
}"""


def settle(page: Page) -> None:
    """Wait until the script has run and nothing fades any more."""
    page.evaluate("() => { window.calmFrames = 0; }")
    page.wait_for_function(SETTLED, arg=20, timeout=LONG)


def pick(page: Page, label: str, value: str) -> None:
    """Choose one value of a select box, once the page stands still."""
    from playwright.sync_api import TimeoutError

    field, option = page.get_by_role("combobox", name=label, exact=True), \
        page.get_by_role("option", name=value, exact=True)
    settle(page)
    for shut in reversed(range(ATTEMPTS)):
        field.click()
        page.keyboard.type(value)  # a long list holds only what is seen of it
        try:
            option.click(timeout=LONG / ATTEMPTS)
            break
        except TimeoutError:  # it was shut by what was drawn anew meanwhile
            if not shut:
                raise
            page.keyboard.press("Escape")
            settle(page)
    settle(page)
