"""What the tests of accessibility share: axe-core from the installed package, and what it finds on a page."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

LONG = 60_000
BAD = ("serious", "critical")
# what stands inside Streamlit's own widgets and cannot be reached from here: (rule, part of the selector): why
EXCEPTIONS: dict[tuple[str, str], str] = {}


def source() -> str:
    """Return the source of axe-core."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.fail("axe-playwright-python is not installed (pip install -r requirements-dev.txt)")
    return Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")


def settle(page: Page) -> None:
    """Wait until the script has run and nothing fades any more."""
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
        " && !document.querySelector('[data-stale=true]')", timeout=LONG)
    page.wait_for_timeout(400)


def violations(page: Page, axe: str, where: str) -> list[str]:
    """Return what axe finds on the page as it is, serious or critical, that is no exception: one line a place.

    In the dark the colours alone are looked at: all else is as in the light.
    """
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate(
        "() => axe.run(document, {resultTypes: ['violations'], ...(matchMedia('(prefers-color-scheme: dark)').matches"
        " ? {runOnly: {type: 'rule', values: ['color-contrast']}} : {})})")
    out = []
    for rule in found["violations"]:
        for node in rule["nodes"] if rule["impact"] in BAD else ():
            target = " ".join(str(t) for t in node["target"])
            if not any(rule["id"] == r and part in target for r, part in EXCEPTIONS):
                said = (node.get("any") or node.get("all") or node.get("none") or [{}])[0].get("message", "")
                out.append(f"{where}: {rule['id']} ({rule['impact']}) {target}: {said} {node['html'][:120]}")
    return out
