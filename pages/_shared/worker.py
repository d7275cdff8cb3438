"""The warm worker process of this server, and the requests that are under way in it.

A page looks at the messages that have come whenever it is drawn, so it can be left, refreshed or
cancelled while cells are generated.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from pages._shared import context
from pages._shared.words import duration
from scdiff_core.worker_client import Request, Worker
from scdiff_core.workspace import JobDir


class Asked:
    """One request to the worker: the last it said, and how it ended."""

    def __init__(self, request: Request, note: str) -> None:
        self.request, self.note = request, note
        self.began = time.monotonic()
        self._said: dict[str, Any] = {}

    def look(self, patience: float = 0.0) -> dict[str, Any]:
        """Return all that was said so far; waits up to `patience` seconds for the end."""
        until = time.monotonic() + patience
        while True:
            for message in self.request.poll():
                self._said |= message
            if self.request.ended or time.monotonic() >= until:
                return self._said
            time.sleep(0.02)

    @property
    def ended(self) -> bool:
        """Say whether the last message has come."""
        return self.request.ended

    def seconds(self) -> float:
        """Return how long ago it was asked."""
        return time.monotonic() - self.began


@st.cache_resource(show_spinner=False)
def _worker(root: str) -> Worker:
    return Worker(root)


@st.cache_resource(show_spinner=False)
def _asked() -> dict[str, Asked]:
    return {}


def submit(key: str, op: str, note: str = "", **values: Any) -> Asked:
    """Ask the worker; a request of the same key that is still under way is returned instead."""
    known = _asked().get(key)
    if known is None or known.ended:
        worker = _worker(str(context.workspace().root))
        _asked()[key] = known = Asked(worker.request(op, **values), note)
    return known


def under_way(key: str) -> Asked | None:
    """Return the request of that key, ended or not, until it is forgotten."""
    return _asked().get(key)


def forget(key: str) -> None:
    """Drop a request; one that has not ended is cancelled."""
    _asked().pop(key, None)


@st.cache_resource(show_spinner=False)
def prewarm(root: str) -> None:
    """Start the worker with the server, so that its slow imports are over when somebody asks."""
    threading.Thread(target=_worker(root).start, daemon=True).start()


def progress(asked: Asked, first: str) -> None:
    """Draw how far a request is and the time that is left; `first` says what is done before it speaks itself."""
    said = asked.look()
    words = str(said.get("phase") or first)
    share = float(said.get("progress") or 0.0)
    left = asked.seconds() * (1 - share) / share if share > 0.05 else None
    ending = f" · {duration(left)} left" if left else "…"
    st.progress(min(1.0, share), text=f"{words[:1].upper()}{words[1:]}{ending}")


def wait(key: str, *, first: str = "waking up the model", patience: float = 0.0,
         early: Callable[[Asked], bool] = lambda asked: False) -> Asked | None:
    """Follow the request of that key: progress and Cancel while it goes on; returns it, forgotten, once it ended.

    Parameters
    ----------
    first
        What is done before the worker speaks itself.
    patience
        Seconds that the page waits for a request that was just made: most answers of a warm worker come within
        them, and need no second beat of the page.
    early
        Says whether there is something to see before the end, so that the page is drawn anew.
    """
    asked = under_way(key)
    if asked is None:
        return None
    asked.look(patience if asked.seconds() < 1.0 else 0.0)
    if asked.ended:
        forget(key)
        return asked

    @st.fragment(run_every=0.5, key=f"wait-{key}")
    def beat() -> None:
        asked.look()
        if asked.ended or early(asked):
            st.rerun(scope="app")
        progress(asked, first)
        if st.button("Cancel", icon=":material/stop_circle:", key=f"cancel-{key}"):
            asked.request.cancel()

    beat()
    return None


def appeared(asked: Asked, file: Path) -> bool:
    """Have an output opened, once, as soon as that file of it is there; what takes longer follows until the end."""
    if not file.exists() or st.session_state.get("output") == asked.note:
        return False
    st.session_state["output"] = asked.note
    return True


def warm(run: JobDir, key: str) -> None:
    """Have a model and its map loaded while the visitor still chooses, once a session; `key` is what is asked next."""
    known = st.session_state.setdefault("warmed", [])
    if run.id not in known and under_way(key) is None:
        known.append(run.id)
        submit(f"warm-{run.id}", "warm", run=str(run.path))
