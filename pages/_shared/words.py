"""Figures and durations in the words a person uses."""

from __future__ import annotations

STATES = {
    "new": "starting",
    "queued": "waiting in the queue",
    "running": "running",
    "stopping": "stopping: finishes its step and saves",
    "stopped": "stopped, can be resumed",
    "finished": "finished",
    "failed": "failed",
}


def duration(seconds: float | None) -> str:
    """Return a duration in words, for example `2 min 10 s`; `unknown` without a figure."""
    if seconds is None or seconds != seconds:
        return "unknown"
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def plural(n: int, noun: str) -> str:
    """Return `n` with its noun, for example `2,638 cells` or `1 cell`."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
