"""What the tests of accessibility share: axe-core from the installed package, and what it finds on a page."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from forms import settle

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


def set_scheme(page: Page, scheme: str) -> None:
    """Turn the page light or dark, and wait until it is."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.wait_for_function(
        "dark => (getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
        ".match(/[\\d.]+/g).slice(0, 3).reduce((sum, v) => sum + Number(v), 0) < 383) === dark",
        arg=scheme == "dark", timeout=LONG)
    settle(page)


def violations(page: Page, axe: str, where: str) -> list[str]:
    """Return what axe finds on the page as it is, serious or critical, that is no exception: one line a place.

    In the dark the colours alone are looked at: all else is as in the light.
    """
    if not page.evaluate("'axe' in window"):
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


def in_both_schemes(page: Page, axe: str, where: str) -> list[str]:
    """Return what axe finds on the page as it is, in the light and in the dark; the page stays in the second.

    It begins with the scheme that the page is in: changing it draws the whole page anew.
    """
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    found = violations(page, axe, f"{where}, {'dark' if dark else 'light'}")
    set_scheme(page, "light" if dark else "dark")
    return found + violations(page, axe, f"{where}, {'light' if dark else 'dark'}")
