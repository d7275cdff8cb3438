"""What can be done to a run from several pages: resume it, delete it after asking."""

from __future__ import annotations

import streamlit as st

from pages._shared import context
from pages._shared.trouble import error_box
from scdiff_core import jobs
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir


def resume(run: JobDir) -> None:
    """Let a run go on from its last checkpoint, and draw the page anew."""
    try:
        jobs.resume(run)
    except ScdiffError as error:
        error_box(error)
    else:
        context.choose(run=run.id)
        st.rerun(scope="app")


@st.dialog("Delete this run?")
def ask_delete(run: JobDir) -> None:
    """Ask, then move a run with everything generated from it to the trash folder."""
    st.markdown(
        "The model and the cells generated from it are moved to the trash folder of the workspace; "
        "nothing is erased there."
    )
    st.caption(f"{context.title_of(run)} · {run.id}")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", key="delete_run_yes"):
            try:
                jobs.delete(run)
            except ScdiffError as error:
                error_box(error)
                return
            if st.session_state.get("run") == run.id:
                context.choose(run=None, output=None)
            st.rerun()
        if st.button("Keep it", key="delete_run_no"):
            st.rerun()
