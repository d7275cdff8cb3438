"""A job as people see it: how far, how long still, and a way to stop it."""

from __future__ import annotations

import streamlit as st

from pages._shared.trouble import error_box, guard
from pages._shared.words import STATES, duration
from scdiff_core import jobs
from scdiff_core.jobs import Status
from scdiff_core.workspace import JobDir


def progress_line(status: Status) -> None:
    """Draw one bar with the phase and the time left."""
    if status.state == "queued" and status.phase != "starting":  # else its process is only coming up
        place = f", place {status.place}" if status.place else ""
        st.progress(0.0, text=f"Waiting in the queue{place}: one training at a time on this device.")
        return
    words = status.message or status.phase or STATES.get(status.state, status.state)
    left = f" · {duration(status.eta_s)} left" if status.eta_s is not None and status.state == "running" else ""
    st.progress(status.fraction, text=f"{words[:1].upper()}{words[1:]} · {status.fraction:.0%}{left}")


def follow(job: JobDir, key: str, cancel: str = "Cancel") -> Status:
    """Follow a job until it ends, then run the page again; returns at once where it has ended.

    A failed job shows its error with the way to go on.
    """
    status = jobs.watch(job)
    if status.active:

        @st.fragment(run_every=0.7, key=f"follow-{key}")
        def beat() -> None:
            with guard():
                now = jobs.watch(job)
                if not now.active:
                    st.rerun(scope="app")
                progress_line(now)
                if st.button(
                    cancel, key=f"cancel-{key}", icon=":material/stop_circle:", disabled=now.state == "stopping"
                ):
                    jobs.stop(job)

        beat()
    elif status.state == "failed" and status.error:
        error_box(status.error)
    return status
