"""What the modes that use real cells have in common: asking the worker, following it, and studies kept in the run."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages._shared import worker
from pages._shared.trouble import error_box
from scdiff_core.config import Frozen
from scdiff_core.engine import outputs
from scdiff_core.workspace import JobDir


def key_of(run: JobDir, kind: str) -> str:
    """Return the name under which a run's request of a kind is kept; one at a time."""
    return f"use-{kind}-{run.id}"


def begin(run: JobDir, kind: str, config: Frozen) -> None:
    """Send a request to the worker; its result comes into a directory of its own."""
    st.session_state.pop(f"trouble-{kind}", None)
    path = outputs.new_path(run)
    worker.submit(key_of(run, kind), "use", note=path.name, run=str(run.path), kind=kind,
                  config=config.model_dump(mode="json"), out_dir=str(path))


def begin_study(run: JobDir, kind: str, **asked: Any) -> None:
    """Send a study to the worker; what it finds is kept in the run."""
    st.session_state.pop(f"trouble-study-{kind}", None)
    worker.submit(key_of(run, f"study-{kind}"), "study", run=str(run.path), kind=kind, **asked)


def follow(run: JobDir, kind: str) -> bool:
    """Follow a request under way: progress and Cancel; True while it goes on. An error stays until the next one."""
    ended = worker.wait(key_of(run, kind), first="waking up the model", patience=1.5)
    if ended is not None:
        said = ended.look()
        if said.get("cancelled"):
            st.toast("Cancelled: nothing was made.", icon=":material/stop_circle:")
        elif said.get("error"):
            st.session_state[f"trouble-{kind}"] = said["error"]
        elif ended.note:
            st.session_state[f"opened-{kind}-{run.id}"] = ended.note
    trouble = st.session_state.get(f"trouble-{kind}")
    if trouble:
        error_box(trouble)
    return worker.under_way(key_of(run, kind)) is not None


def needs_counts(prepared: Any, what: str) -> bool:
    """Say where a model of continuous values cannot do this; True where it can."""
    if prepared.values == "counts":
        return True
    st.info(f"This model learnt from values that are no counts, so it cannot {what}: what is noise of counting in such "
            "values is not known. Prepare the data from its counts, and train on that.",
            icon=":material/info:")
    return False
