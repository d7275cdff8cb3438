"""Home: what this is, the demo in one click, and where you left off."""

from __future__ import annotations

import streamlit as st

from pages._shared import context, frame, tour
from pages._shared.trouble import guard
from pages._shared.words import STATES, plural
from scdiff_core import demo_model, jobs


def try_demo() -> None:
    """Put the demo into the workspace and show it on the Generate page."""
    dataset, run = demo_model.install(context.workspace())
    context.choose(dataset=dataset.id, run=run.id, output=None)
    st.session_state["generate_now"] = True
    st.switch_page("pages/generate.py")


with frame.page():
    left, right = st.columns([5, 4], gap="large")
    with left:
        st.title("Cells that were never measured, beside those that were", anchor=False)
        st.markdown(
            "Bring a table of single cells. scDiff Studio learns what your cells look like, generates new "
            "ones of the types you ask for, and shows them beside the real ones, with every figure "
            "next to the best that could be expected. No code."
        )
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            if st.button(
                "Try the demo",
                type="primary",
                icon=":material/play_circle:",
                key="try_demo",
                help="700 blood cells and a small model that come with the app. No internet needed.",
            ):
                with guard():
                    try_demo()
            with guard():
                tour.offer()
            st.page_link("pages/data.py", label="Open my own data", icon=":material/upload_file:")
        st.caption("The demo needs no file and no internet: 700 blood cells (PBMC) and a small trained model.")

    with right, st.container(border=True):
        steps = [
            ("1", "Data", "Open a file, look at its quality, say which column is the cell type."),
            ("2", "Train", "Press one button and watch generated cells grow into the real ones."),
            ("3", "Generate", "Ask for cells of a type, compare marker genes, read the report card, download."),
            ("4", "Runs", "Compare what you have trained, make the full report."),
            ("5", "Methods", "Take the paragraph for your paper, with its references."),
        ]
        for number, name, what in steps:
            st.markdown(f"**{number} · {name}**  \n{what}")

    space = context.workspace()
    datasets, runs = space.datasets(), space.list("train")
    if datasets or runs:
        st.divider()
        first, second = st.columns(2, gap="large")
        with first:
            st.markdown("**Datasets**")
            for job in datasets[:6]:
                if st.button(job.id, key=f"open-data-{job.id}", icon=":material/dataset:", type="tertiary"):
                    context.choose(dataset=job.id)
                    st.switch_page("pages/data.py")
            if not datasets:
                st.caption("None yet.")
        with second:
            st.markdown("**Models**")
            for run in runs[:6]:
                words = STATES.get(jobs.watch(run).state, "")
                if st.button(
                    f"{context.title_of(run)}: {words}",
                    key=f"open-run-{run.id}",
                    icon=":material/model_training:",
                    type="tertiary",
                ):
                    context.choose(run=run.id, output=None)
                    st.switch_page("pages/train.py")
            if not runs:
                st.caption("None yet.")
        st.caption(
            f"{plural(len(datasets), 'dataset')} and {plural(len(runs), 'model')} in this workspace: `{space.root}`"
        )
