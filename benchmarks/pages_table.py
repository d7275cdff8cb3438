"""The table of `benchmarks.pages`: how long each page took, what counts, and the musts."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import tables

PAGES = ("Home", "Data", "Train", "Generate", "Runs", "Methods")
MUST_S, MUST_MB = 0.5, 1000.0
STRANGE = 0.2  # cores that other programs may take during a page change that counts


def counted(times: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the visits that count: not the first, and not those during which other programs were at work."""
    return [t for t in times[1:] if t.get("elsewhere", 0.0) <= STRANGE] or times[1:]


def table(results: dict[str, Any]) -> str:
    """Return the results as markdown, with the musts."""
    def said(value: float | None, must: float, unit: str, digits: int) -> str:
        return tables.MISSING if value is None else f"{value:,.{digits}f} {unit}{'' if value < must else ' ✗'}"

    def middle(name: str, key: str) -> float | None:
        known = [t[key] for t in counted(results["times"][name]) if key in t]
        return statistics.median(known) if known else None

    lines = [["page", "heading and map (must: under 0.5 s)", "fastest", "slowest", "heading alone", "all quiet",
              "CPU of the server", "CPU of the page", "visits that count", "first visit",
              "server memory after the first visit"]]
    for name in PAGES:
        every = [t["seen"] for t in counted(results["times"][name]) if "seen" in t]
        first = results["times"][name][0].get("seen")
        lines.append([name, said(middle(name, "seen"), MUST_S, "s", 2), f"{min(every):.2f} s" if every else "",
                      f"{max(every):.2f} s" if every else "",
                      f"{middle(name, 'heading') or 0:.2f} s", f"{middle(name, 'quiet') or 0:.2f} s",
                      f"{middle(name, 'cpu_server') or 0:.2f} s", f"{middle(name, 'cpu_browser') or 0:.2f} s",
                      f"{len(every)} of {len(results['times'][name]) - 1}",
                      f"{first:.2f} s" if first else tables.MISSING, f"{results['memory'][name]['rss_mb']:,.0f} MB"])
    held, many = results["memory"]["end"], results["together"]
    rows = [["memory of the server's process", "must", ""],
            ["after all pages", "under 1,000 MB", said(held["rss_mb"], MUST_MB, "MB", 0)],
            ["of that its own (no mapped files)", "", f"{held['own_mb']:,.0f} MB"],
            ["its worker processes, beside it", "", f"{held['workers_mb']:,.0f} MB"]]
    if many:
        rows += [[f"after {many['sessions']} sessions at once", "under 1,000 MB",
                  said(many["memory"]["rss_mb"], MUST_MB, "MB", 0)],
                 [f"errors in {sum(many['pages'])} page changes of {many['sessions']} sessions at once", "none",
                  f"{many['tracebacks'] + many['not_seen']}"
                  + (" ✗" if many["tracebacks"] + many["not_seen"] else "")]]
    return tables.markdown(lines) + "\n\n" + tables.markdown(rows)
