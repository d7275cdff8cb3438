"""Reports under way: a process of their own makes them, so that generating never waits for them."""

from __future__ import annotations

import threading

import streamlit as st

from pages._shared import context
from pages._shared.trouble import error_box
from pages._shared.words import duration
from pages._shared.worker import Asked
from scdiff_core.engine import report_full
from scdiff_core.errors import ScdiffError
from scdiff_core.worker_client import Worker
from scdiff_core.workspace import JobDir


@st.cache_resource(show_spinner=False)
def _worker(root: str) -> Worker:
    return Worker(root)


@st.cache_resource(show_spinner=False)
def _asked() -> dict[str, Asked]:
    return {}


def begin(run: JobDir) -> None:
    """Ask for the report of a run, unless it is being made already."""
    known = _asked().get(str(run.path))
    if known is not None and not known.ended:
        return
    try:
        request = _worker(str(context.workspace().root)).request(
            "full", run=str(run.path), n_cells=report_full.CELLS, seed=0
        )
    except ScdiffError as error:
        error_box(error)
        return
    _asked()[str(run.path)] = Asked(request, "")


def cancel(run: JobDir) -> None:
    """Stop making a report: at once where no other one waits, else at its next step."""
    asked = _asked().pop(str(run.path), None)
    if asked is None or asked.ended:
        return
    asked.request.cancel()
    _rest()
    st.toast("Cancelled: the report before it, if there was one, is still there.", icon=":material/stop_circle:")


def _rest() -> None:
    """End the process if it has nothing to do: its memory is worth more than its warmth."""
    if all(asked.ended for asked in _asked().values()):
        threading.Thread(target=_worker(str(context.workspace().root)).close, daemon=True).start()


def follow(run: JobDir) -> bool:
    """Show a report under way with its progress and Cancel; True while it goes on."""
    asked = _asked().get(str(run.path))
    if asked is None:
        return False
    asked.look()
    if asked.ended:
        said = asked.look()
        del _asked()[str(run.path)]
        _rest()
        if said.get("error"):
            error_box(said["error"])
        return False

    @st.fragment(run_every=0.7, key=f"report-{run.id}-wait")
    def beat() -> None:
        said = asked.look()
        if asked.ended:
            st.rerun(scope="app")
        share = float(said.get("progress") or 0.0)
        words = str(said.get("phase") or "starting a process for it")
        left = f" · {duration(asked.seconds() * (1 - share) / share)} left" if share > 0.15 else ""
        st.progress(min(1.0, share), text=f"{words[:1].upper()}{words[1:]} · {share:.0%}{left}")
        if st.button("Cancel", icon=":material/stop_circle:", key="cancel_report"):
            cancel(run)
            st.rerun(scope="app")

    beat()
    return True
