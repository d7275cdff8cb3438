"""What the modes have in common: asking the worker, following it, and the choice among what was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st

from pages._shared import context, worker
from pages._shared.trouble import show_kept
from scdiff_core.config import Frozen
from scdiff_core.engine import outputs
from scdiff_core.engine.outputs import GeneratedSet
from scdiff_core.engine.uses_set import UsesSet
from scdiff_core.workspace import JobDir

Made = TypeVar("Made", GeneratedSet, UsesSet)


def key_of(run: JobDir, kind: str) -> str:
    """Return the name under which a run's request of a kind is kept; one at a time."""
    return f"{kind}-{run.id}"


def trouble(kind: str) -> str:
    """Return the name under which the error of the last request of a kind is kept (see `trouble.kept`)."""
    return f"{kind}_trouble"


def begin(run: JobDir, kind: str, config: Frozen, op: str = "use") -> None:
    """Send a request to the worker's `op`; its result comes into a directory of its own."""
    st.session_state.pop(trouble(kind), None)
    path = outputs.new_path(run)
    worker.submit(key_of(run, kind), op, note=path.name, run=str(run.path), kind=kind,
                  config=config.model_dump(mode="json"), out_dir=str(path))


def begin_study(run: JobDir, kind: str, **asked: Any) -> None:
    """Send a study to the worker; what it finds is kept in the run."""
    st.session_state.pop(trouble(f"study-{kind}"), None)
    worker.submit(key_of(run, f"study-{kind}"), "study", run=str(run.path), kind=kind, **asked)


def follow(run: JobDir, kind: str) -> bool:
    """Follow a request under way: progress and Cancel; True while it goes on. An error stays until the next one."""
    ended = worker.wait(key_of(run, kind), patience=1.5, early=lambda asked: bool(asked.note) and worker.appeared(
        asked, run.outputs / asked.note / outputs.RECIPE))
    if ended is not None:
        said = ended.look()
        if said.get("cancelled"):
            st.toast("Cancelled: nothing was made.", icon=":material/stop_circle:")
        elif said.get("error"):
            st.session_state[trouble(kind)] = said["error"]
        elif ended.note:
            context.choose(output=ended.note)
    show_kept(trouble(kind))
    return worker.under_way(key_of(run, kind)) is not None


def pick(sets: Sequence[Made], label: str, words: Callable[[Made], str]) -> Made:
    """Draw the choice among the results of a kind, the newest first; returns the open one, which the address names."""
    by_id = {s.id: s for s in sets}
    made = by_id.get(str(st.session_state.get("output")), sets[0])
    if len(sets) > 1:
        said = {s.id: f"{s.id} · {words(s)}" for s in sets}
        made = by_id[st.selectbox(label, list(by_id), index=list(by_id).index(made.id), width=620,
                                  label_visibility="collapsed", format_func=said.__getitem__)]
    context.choose(output=made.id)
    return made


def needs_counts(prepared: Any, what: str) -> bool:
    """Say where a model of continuous values cannot do this; True where it can."""
    if prepared.values == "counts":
        return True
    st.info(f"This model learnt from values that are no counts, so it cannot {what}: what is noise of counting in such "
            "values is not known. Prepare the data from its counts, and train on that.",
            icon=":material/info:")
    return False
